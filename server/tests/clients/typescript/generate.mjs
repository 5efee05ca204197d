// Writes the types of an OpenAPI document: `node generate.mjs openapi.yaml api.d.ts`.
// Binary data is a Blob, as in the documentation of openapi-typescript.
import { writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [document, types] = process.argv.slice(2);
const blob = ts.factory.createTypeReferenceNode("Blob");
const transform = (schema) => (schema.format === "binary" ? blob : undefined);
await writeFile(types, astToString(await openapiTS(pathToFileURL(document), { transform })));
