// The requests that the page sends, and errors in words.

import { fetchWithKey } from "./key.js";

/** Why a request has no result, in words. `again` is the wait before a retry, in ms. */
export class Refused extends Error {
  constructor({ title, detail, type, request_id, status }, again) {
    super(detail);
    Object.assign(this, { title, detail, type, id: request_id, status, again });
  }
}

/** The response, or throws `Refused`; an abort passes through. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetchWithKey(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({
      title: "No answer",
      detail: "The connection to the server failed. Check that the server runs, and try again.",
      status: 0,
    });
  }
  if (response.ok) return response;
  const wait = Number(response.headers.get("retry-after"));
  const busy = response.status === 429 || response.status === 503;
  throw new Refused(await problem(response), busy && wait > 0 ? wait * 1000 : undefined);
}

async function problem(response) {
  const { status } = response;
  try {
    const { title, detail, type, request_id } = await response.json();
    return { title, detail, type, request_id, status };
  } catch {
    return { title: `Status ${status}`, detail: "The response has no description of the error.", status };
  }
}

/** The bytes of a photo as the body: the server detects the format itself. */
const image = (file, signal) => ({
  method: "POST",
  body: file,
  headers: { "content-type": "application/octet-stream" },
  signal,
});

/** Classifies one photo: the JSON, the times in ms, and the whole round trip. */
export async function classify(path, file, signal) {
  const start = performance.now();
  const response = await ask(path, image(file, signal));
  const json = await response.json();
  const total = performance.now() - start;
  return { json, timing: { ...serverTiming(response.headers.get("server-timing")), total } };
}

export const explain = async (path, file, signal) => (await ask(path, image(file, signal))).json();

/** `decode;dur=2.31, queue;dur=0.05` -> { decode: 2.31, queue: 0.05 } */
export function serverTiming(header) {
  const found = {};
  for (const [, name, dur] of (header ?? "").matchAll(/(\w+);dur=([\d.]+)/g)) found[name] = Number(dur);
  return found;
}

let contract;
/** Whether the contract of this server has a route. Asking for the route itself would log an error. */
export async function hasRoute(path) {
  contract ??= ask("/openapi.json").then((r) => r.json()).catch(() => ({ paths: {} }));
  return path in (await contract).paths;
}
