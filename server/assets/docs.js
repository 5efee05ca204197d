// The page at /docs: renders the routes of the contract, and searches them.

import { ask } from "./api.js";
import { $, h } from "./dom.js";
import { fieldRows, resolver } from "./schema.js";
import { tryIt } from "./try.js";

const METHODS = ["get", "post", "put", "delete"];

/** The code spans, links and paragraphs of a description. */
export function prose(text = "") {
  return text.trim().split(/\n\s*\n/).map((paragraph) => h("p", {}, inline(paragraph)));
}

const inline = (text = "") => text.split(/(`[^`]+`)/).map((part) =>
  part.startsWith("`") ? h("code", {}, part.slice(1, -1)) : part);

const table = (heads, rows) => h("table", {},
  h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
  h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))));

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

class Reference {
  constructor(contract) {
    this.contract = contract;
    this.resolve = resolver(contract);
  }

  operations() {
    return Object.entries(this.contract.paths).flatMap(([path, item]) =>
      METHODS.filter((method) => item[method]).map((method) => ({ path, method, ...item[method] })));
  }

  section(operation) {
    const { path, method, summary, description, servers, operationId } = operation;
    const parameters = (operation.parameters ?? []).map(this.resolve);
    const body = operation.requestBody && this.resolve(operation.requestBody);
    return h("section", { id: operationId, class: "route", "data-entry": path, "data-method": method },
      h("h2", {}, summary),
      h("p", { class: "path" }, h("span", { class: "method", "data-method": method }, method.toUpperCase()), h("code", {}, breakable(path))),
      prose(description),
      servers?.map(({ url, description }) => h("p", { class: "soft" }, h("code", {}, url), ` ${description}`)),
      parameters.length > 0 && [h("h3", {}, "Parameters"), this.parameters(parameters)],
      body && [h("h3", {}, "Body"), this.contents(body.content)],
      h("h3", {}, "Responses"),
      Object.entries(operation.responses).map(([status, response]) => this.response(status, this.resolve(response))),
      !servers && tryIt(this.contract, operation, parameters, body));
  }

  parameters(list) {
    return table(["Name", "In", "Type", "Meaning"], list.map(({ name, in: place, required, schema = {}, description }) => [
      h("code", {}, name), place + (required ? "" : ", optional"),
      [schema.enum ? schema.enum.join(" | ") : schema.type, schema.default !== undefined && `, default ${schema.default}`].filter(Boolean),
      inline(description),
    ]));
  }

  response(status, { description, content, headers }) {
    const names = Object.keys(headers ?? {});
    return h("details", { class: "response" },
      h("summary", {}, h("strong", { class: "numbers" }, status), h("span", {}, inline(description?.trim()))),
      names.length > 0 && table(["Header", "Meaning"], names.map((name) => {
        const { description, example } = this.resolve(headers[name]);
        return [h("code", {}, name), [inline(description?.trim()), example !== undefined && h("p", { class: "soft" }, "Example: ", h("code", {}, String(example)))].filter(Boolean)];
      })),
      this.contents(content));
  }

  /** Each content type with its fields and examples. */
  contents(content = {}) {
    return Object.entries(content).map(([type, { schema, examples }]) => {
      const rows = fieldRows(schema, this.resolve).map(({ name, type, description }) => [h("code", {}, breakable(name)), type, inline(description)]);
      return h("div", { class: "content" },
        h("p", {}, type === "*/*" ? "Any other content type: the bytes of a file" : h("code", {}, type)),
        rows.length > 0 && table(["Field", "Type", "Meaning"], rows),
        Object.entries(examples ?? {}).filter(([, example]) => example.value !== undefined).map(([name, { summary, value }]) =>
          h("figure", {}, h("figcaption", { class: "small soft" }, summary ?? name.replaceAll("-", " ")),
            h("pre", { tabindex: 0 }, text(value)))));
    });
  }
}

/** One link per section. */
function contents() {
  $("#contents ul").replaceChildren(...sections().map((section) => {
    const { entry, method } = section.dataset;
    return h("li", {}, h("a", { href: `#${section.id}` },
      method && h("span", { class: "method", "data-method": method }, method.toUpperCase()), h("span", {}, breakable(entry))));
  }));
}

/** A path may break after a slash, the name of a field after a dot. */
const breakable = (path) => path.split(/(?<=.[/.])/).flatMap((part, i) => (i ? [h("wbr"), part] : part));

const sections = () => [...document.querySelectorAll("main [data-entry]")];

/** Shows the sections that contain every word. */
function search() {
  const words = $("#search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const links = $("#contents ul").children;
  let found = 0;
  sections().forEach((section, i) => {
    section.words ??= section.textContent.toLowerCase();
    const hit = words.every((word) => section.words.includes(word));
    section.hidden = links[i].hidden = !hit;
    found += hit;
  });
  $("#found").textContent = words.length ? `${found} of ${links.length} sections` : "";
}

async function render() {
  try {
    const contract = await (await ask("/openapi.json")).json();
    const reference = new Reference(contract);
    $("#routes").replaceChildren(...reference.operations().map((operation) => reference.section(operation)));
  } catch (error) {
    $("#routes").replaceChildren(h("p", { class: "panel", role: "alert" }, `The contract could not be read: ${error.detail ?? error}`));
  }
  contents();
  $("#search").addEventListener("input", search);
  // The routes above it move the target of the address.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
}

render();
