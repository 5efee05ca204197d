// "Try it": sends a request of the contract to this server and shows the response.

import { h, milliseconds } from "./dom.js";
import { fetchWithKey } from "./key.js";

const MOST_TEXT = 20_000; // characters of a response that are shown
const SHOWN_HEADERS = ["content-type", "server-timing", "x-request-id", "retry-after", "x-embedding-shape"];

/** A form for one operation. */
export function tryIt(contract, { path, method, operationId, responses }, parameters, body) {
  const fields = parameters.filter(({ in: place }) => place !== "header").map((parameter) => field(operationId, parameter));
  const file = body && h("input", { type: "file", accept: "image/*", id: `${operationId}-file`, class: "field" });
  const accepted = Object.keys(contract.paths[path][method].responses["200"]?.content ?? {});
  const accept = accepted.length > 1 && h("select", { id: `${operationId}-accept` }, accepted.map((type) => h("option", {}, type)));
  const output = h("div", { class: "output", role: "status" });
  const form = h("form", {},
    fields.map(({ label }) => label),
    accept && h("label", {}, h("span", {}, "Accept"), accept),
    file && h("label", {}, h("span", {}, "Image (a sample cat if none is chosen)"), file),
    h("button", { class: "button primary", type: "submit" }, "Send"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const options = { method: method.toUpperCase(), headers: {} };
    if (accept) options.headers.accept = accept.value;
    if (file) {
      options.headers["content-type"] = "application/octet-stream";
      options.body = file.files[0] ?? (await (await fetch("/assets/cat.jpg")).blob());
    }
    output.replaceChildren(...(await send(addressOf(path, fields), options)));
  });
  return h("details", { class: "try" }, h("summary", {}, "Try it"), form, output);
}

function field(operation, { name, in: place, required, schema = {}, example }) {
  const input = schema.enum
    ? h("select", {}, !required && h("option", { value: "" }, "default"), schema.enum.map((value) => h("option", {}, value)))
    : h("input", { class: "field", value: place === "path" ? example : undefined, placeholder: schema.default, required });
  input.id = `${operation}-${name}`;
  return { name, place, input, label: h("label", {}, h("span", {}, name), input) };
}

function addressOf(path, fields) {
  const query = new URLSearchParams();
  for (const { name, place, input } of fields) {
    if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(name, input.value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function send(url, options) {
  const start = performance.now();
  try {
    const response = await fetchWithKey(url, options);
    const blob = await response.blob();
    const time = milliseconds(performance.now() - start);
    const headers = SHOWN_HEADERS.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`);
    return [
      h("p", {}, h("strong", { class: "numbers" }, `${response.status} ${response.statusText}`), h("span", { class: "soft" }, ` ${options.method} ${url} · ${time}`)),
      h("pre", { class: "soft", tabindex: 0 }, headers.join("\n")),
      await content(blob),
    ];
  } catch (error) {
    return [h("p", {}, `The request failed: ${error.message}`)];
  }
}

async function content(blob) {
  if (blob.type.startsWith("image/")) return h("img", { src: URL.createObjectURL(blob), alt: "The image of the response" });
  if (/octet-stream|npy/.test(blob.type)) return h("p", {}, `${blob.size} bytes of binary data`);
  let text = await blob.text();
  if (blob.type.includes("json")) text = JSON.stringify(JSON.parse(text), null, 2);
  const rest = text.length - MOST_TEXT;
  return h("pre", { tabindex: 0 }, rest > 0 ? `${text.slice(0, MOST_TEXT)}\n… and ${rest} more characters` : text);
}
