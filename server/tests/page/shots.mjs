// The screenshots of the README: `make page-shots` writes docs/page.jpg and docs/page-dark.jpg.

import { readFileSync } from "node:fs";
import { launch, path, photos, settled, visit } from "./support.mjs";

const browser = await launch();
const shot = (page, name) => page.screenshot({ path: path(`docs/${name}.jpg`), type: "jpeg", quality: 82 });
const heat = (page) => page.waitForFunction(() => !/Computing/.test(document.querySelector(".picture").textContent));

await visit(browser, { width: 1280, height: 800 }, async (page) => {
  await page.setInputFiles("#files", photos.cat);
  await settled(page);
  await heat(page);
  await shot(page, "page");
});

await visit(browser, { width: 1280, height: 800, scheme: "dark", refused: 1 }, async (page) => {
  await page.setInputFiles("#files", [photos.cat, photos.coffee, path("photos/rocket.jpg")]);
  // The beginning of a file.
  await page.setInputFiles("#files", { name: "broken.jpg", mimeType: "image/jpeg", buffer: readFileSync(photos.cat).subarray(0, 300) });
  await settled(page);
  await page.click("#grid [role=option]:nth-of-type(2)");
  await heat(page);
  await page.evaluate(() => document.activeElement.blur());
  await shot(page, "page-dark");
});
await browser.close();
