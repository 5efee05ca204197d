// Uploads a photo with the client that is generated of openapi.yaml, as each form of a
// body, and prints what the server returned: `node upload.js http://HOST:PORT cat.jpg`.
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [baseUrl, path] = process.argv.slice(2);
const bytes = await readFile(path);
const photo = new Blob([bytes], { type: "image/jpeg" });
const client = createClient<paths>({ baseUrl });

type Answer = { data?: components["schemas"]["Classifications"]; error?: components["schemas"]["Problem"] };

function best({ data, error }: Answer) {
  if (error) throw new Error(error.detail);
  const items = Array.isArray(data) ? data : [data];
  return items.map((item) => (item && "predictions" in item ? item.predictions[0].index : item));
}

const raw = (type: string) =>
  client.POST("/classify", {
    body: photo,
    bodySerializer: () => photo,
    headers: { "Content-Type": type },
    params: { query: { top_k: 1 } },
  });

const multipart = client.POST("/classify", {
  body: { image: [photo, photo] },
  bodySerializer(body) {
    const form = new FormData();
    if ("image" in body && Array.isArray(body.image)) {
      for (const file of body.image) form.append("image", file, "cat.jpg");
    }
    return form;
  },
});

const json = client.POST("/models/{name}/classify", {
  body: { image: bytes.toString("base64") },
  params: { path: { name: "resnet50_thin" } },
});

const broken = await client.POST("/classify", {
  body: photo,
  bodySerializer: () => "not an image",
  headers: { "Content-Type": "image/png" },
});

console.log(
  JSON.stringify({
    image: best(await raw("image/jpeg")),
    octets: best(await raw("application/octet-stream")),
    multipart: best(await multipart),
    json: best(await json),
    problem: broken.error?.title,
  }),
);
