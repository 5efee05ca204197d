// What the tests of the pages share: a browser, files, and the checks of every page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.PAGE_MODULES}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const url = process.env.PAGE_URL;
const root = new URL("../../../", import.meta.url);
export const path = (name) => new URL(name, root).pathname;
export const photos = { cat: path("photos/cat.jpg"), coffee: path("photos/coffee.jpg"), rocket: path("photos/rocket.png"), text: path("photos/README.md") };

export const launch = () => chromium.launch({
  executablePath: process.env.CHROMIUM,
  // A camera that shows a test picture.
  args: ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
});

/**
 * Runs `body(page)` on a new page at `at`. Fails on a console error, an exception,
 * a request to another origin, or something that the page stores. `refused` is the
 * number of requests that the server refuses: the browser logs each as an error.
 */
export async function visit(browser, { at = "/", width = 1280, height = 800, scheme = "light", motion, refused = 0, before }, body) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: motion, acceptDownloads: true });
  await context.grantPermissions(["clipboard-read", "clipboard-write", "camera"], { origin: url });
  const page = await context.newPage();
  const errors = [];
  const strangers = [];
  let logged = 0;
  page.on("pageerror", (error) => errors.push(error.stack));
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    if (/^Failed to load resource: .* (415|422|429)/.test(message.text())) logged += 1;
    else errors.push(message.text());
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (!["blob:", "data:"].includes(protocol) && origin !== new URL(url).origin) strangers.push(request.url());
  });
  try {
    await before?.(page);
    await page.goto(url + at, { waitUntil: "networkidle" });
    await body(page);
    assert.deepEqual(errors, [], "console errors");
    assert.deepEqual(strangers, [], "requests to other origins");
    assert.equal(logged, refused, "requests that the server refused");
    assert.deepEqual(await context.cookies(), [], "cookies");
    assert.equal(await page.evaluate(() => localStorage.length + sessionStorage.length), 0, "stored items");
  } finally {
    await context.close();
  }
}

/** Fails if axe finds a violation, or if the page is wider than the window. */
export async function accessible(page, what) {
  // The policy of the page forbids inline scripts, so the text is evaluated.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  const found = violations.map(({ id, nodes }) => `${what}: ${id}: ${nodes.slice(0, 3).map(({ html, any }) => `${html.slice(0, 160)} (${any[0]?.message ?? ""})`).join("; ")}`);
  assert.deepEqual(found, []);
  const [wide, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= window, `${what}: ${wide} pixels wide in a window of ${window}`);
}

/** Drops or pastes a file, as a visitor does. */
export async function give(page, how, file, name, type) {
  const data = readFileSync(file).toString("base64");
  await page.evaluate(({ how, data, name, type }) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    if (how === "paste") {
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
      return;
    }
    for (const event of ["dragenter", "dragover", "drop"]) {
      document.body.dispatchEvent(new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }
  }, { how, data, name, type });
}

/** Waits until no photo is waiting. */
export const settled = (page) => page.waitForFunction(() => {
  const cancel = document.querySelector("[data-do=cancel]");
  return cancel.hidden && !document.querySelector("#work").hidden;
}, undefined, { timeout: 60_000 });

/** What a click downloads, as text. */
export async function download(page, selector) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
  return readFileSync(await file.path(), "utf8");
}

/** RFC 4180, written again for the test: rows of objects. */
export function parseCsv(text) {
  const rows = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1).push(quoted?.replaceAll('""', '"') ?? plain);
    if (end !== ",") rows.push([]);
  }
  const [names, ...lines] = rows.slice(0, -1);
  return lines.map((cells) => Object.fromEntries(names.map((name, i) => [name, cells[i]])));
}

/** A response of `POST /explain` for the cat: the evidence is in one cell of a 7 x 7 map. */
export function explanation(predictions) {
  const crop = { x: 78.4, y: 5.2, width: 289.7, height: 289.7 };
  const maps = predictions.map((prediction, i) => ({
    ...prediction, logit: 9 - i,
    values: Array.from({ length: 7 }, (_, y) => Array.from({ length: 7 }, (_, x) => (y === 1 && x === 1 + i ? 8 : -1))),
  }));
  return { model: "resnet50_thin", version: 1, predictions, width: 451, height: 300, crop, maps };
}
