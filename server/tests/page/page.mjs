// The pages in Chromium. `run.sh` starts the server and this file.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { accessible, download, explanation, give, launch, parseCsv, photos, settled, url, visit } from "./support.mjs";

const browser = await launch();
after(() => browser.close());
const hasExplain = "/explain" in (await (await fetch(`${url}/openapi.json`)).json()).paths;
console.log(`heat maps: ${hasExplain ? "of the server" : "the server has none; a response of the contract is used"}`);

const one = (page, how = "drop") => give(page, how, photos.cat, "cat.jpg", "image/jpeg").then(() => settled(page));
const title = (page) => page.textContent("#photo-title");

/** Answers /explain as the contract says, where the server does not. */
async function withExplain(page) {
  if (hasExplain) return;
  await page.route("**/openapi.json", (route) => route.fulfill({ json: { paths: { "/explain": {} } } }));
  await page.route("**/explain?*", async (route) => {
    const response = await fetch(`${url}/classify`, { method: "POST", body: route.request().postDataBuffer() });
    await route.fulfill({ json: explanation((await response.json()).predictions) });
  });
}

test("a dropped photo is classified", () => visit(browser, {}, async (page) => {
  await one(page);
  assert.equal(await title(page), "Egyptian cat");
  assert.equal(await page.locator(".bars li").count(), 5);
  assert.match(await page.textContent(".bars li"), /Egyptian cat[45]\d %/);
  const text = await page.textContent("#photo");
  for (const word of ["JPEG", "451 × 300 pixels", "21 kB", "Decode", "Wait", "Network"]) assert.ok(text.includes(word), word);
  assert.match(await page.textContent("#live"), /cat\.jpg: Egyptian cat, [45]\d %/);
  assert.ok(await page.isHidden("#empty"));
}));

test("the crop is drawn where the network looks", () => visit(browser, {}, async (page) => {
  await one(page);
  const share = await page.evaluate(() => {
    const [crop, frame] = [".crop", ".frame"].map((name) => document.querySelector(name).getBoundingClientRect());
    return [(crop.left - frame.left) / frame.width, (crop.top - frame.top) / frame.height, crop.width / frame.width, crop.height / frame.height];
  });
  // 451 x 300 -> 348 x 232, of which the middle 224 x 224
  [62 / 348, 4 / 232, 224 / 348, 224 / 232].forEach((expected, i) => assert.ok(Math.abs(share[i] - expected) < 0.01, `${share}`));
  await page.getByLabel("Crop that the network sees").uncheck();
  assert.ok(await page.isHidden(".crop"));
}));

test("a pasted photo and a photo of the camera are classified", () => visit(browser, {}, async (page) => {
  await one(page, "paste");
  assert.equal(await title(page), "Egyptian cat");
  await page.click(".tools [data-do=camera]");
  await page.click("#camera [value=take]");
  await page.waitForFunction(() => document.querySelectorAll("#grid [role=option]").length === 2);
  await settled(page);
  assert.match(await page.locator("#grid [role=option]").nth(1).textContent(), /camera-1\.jpg: .* %/);
}));

test("a broken file among several has its own error, and the results are exported", () => visit(browser, { refused: 1 }, async (page) => {
  await page.setInputFiles("#files", [photos.cat, photos.text, photos.coffee, photos.rocket]);
  await settled(page);
  await page.click("#grid [role=option]:nth-of-type(2)");
  assert.match(await page.textContent(".problem"), /The data is plain text, which is not supported/);
  assert.equal(await page.getAttribute(".problem a", "href"), "/docs#unsupported-format");
  assert.match(await page.textContent("#progress-text"), /4 of 4 done, 1 with an error/);

  const rows = parseCsv(await download(page, "[data-do=csv]"));
  assert.deepEqual(rows.map(({ file, state }) => [file, state]), [["cat.jpg", "done"], ["README.md", "failed"], ["coffee.jpg", "done"], ["rocket.png", "done"]]);
  assert.equal(rows[0].label_1, "Egyptian cat");
  assert.ok(Math.abs(rows[0].probability_1 - 0.509) < 0.02 && Number(rows[0].forward_ms) > 0);
  assert.deepEqual([rows[2].width, rows[2].height, rows[2].label_1], ["600", "400", "espresso"]); // upright
  assert.match(rows[1].error, /^Unsupported image format: the data is plain text, .*BMP/);
  const json = JSON.parse(await download(page, "[data-do=json]"));
  assert.equal(json[2].result.predictions[0].label, "espresso");
  assert.equal(json[1].error.status, 415);
}));

test("the heat map, its class and its opacity", () => visit(browser, { before: withExplain }, async (page) => {
  await one(page);
  await page.waitForSelector(".frame canvas:not([hidden])");
  const hottest = () => page.evaluate(() => {
    const canvas = document.querySelector(".frame canvas");
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    const { data, width } = copy.getImageData(0, 0, canvas.width, canvas.height);
    let best = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i + 1] * data[i + 3] > data[best + 1] * data[best + 3]) best = i;
    return [(best / 4) % width / width, Math.floor(best / 4 / width) / width];
  });
  const first = await hottest();
  if (!hasExplain) assert.ok(Math.abs(first[0] - 1.5 / 7) < 0.05 && Math.abs(first[1] - 1.5 / 7) < 0.05, `${first}`);
  await page.locator(".controls select").selectOption({ index: 1 });
  assert.match(await page.locator(".controls select").evaluate((select) => select.value), /tabby/);
  if (!hasExplain) assert.ok(Math.abs((await hottest())[0] - 2.5 / 7) < 0.05);
  await page.getByLabel("Opacity").fill("20");
  assert.equal(await page.evaluate(() => document.querySelector(".frame canvas").style.opacity), "0.2");
  await page.getByLabel("Heat map").uncheck();
  assert.ok(await page.isHidden(".frame canvas"));
}));

test("without /explain there is no control of a heat map", () => visit(browser, {
  before: (page) => page.route("**/openapi.json", (route) => route.fulfill({ json: { paths: {} } })),
}, async (page) => {
  await one(page);
  assert.ok(await page.getByLabel("Heat map").isHidden());
}));

test("another model classifies the photos again, and has a card", () => visit(browser, {}, async (page) => {
  await one(page);
  assert.match(await page.textContent(".facts"), /resnet50_thin, version 1/);
  const asked = page.waitForRequest("**/models/other/classify");
  await page.locator("#model-select").selectOption("other");
  await asked;
  await settled(page);
  await page.waitForFunction(() => /other, version 1/.test(document.querySelector(".facts").textContent));
  await page.click("#card summary");
  assert.match(await page.textContent("#card-facts"), /short side to 232 pixels \(bicubic\), centre crop of 224/);
  await page.click(".code summary");
  assert.ok((await page.textContent(".code pre")).startsWith(`curl --data-binary '@cat.jpg' '${url}/models/other/classify'`));
  for (const [language, word] of [["Python", "urlopen"], ["JavaScript", "await fetch"]]) {
    await page.check(`[name=language][value=${language}]`);
    assert.ok((await page.textContent(".code pre")).includes(word));
  }
  await page.click(".code .copy");
  assert.ok((await page.evaluate(() => navigator.clipboard.readText())).includes("await fetch"));
}));

test("a category, and the value of a regression", async () => {
  const answer = { model: "m", version: 1, predictions: [{ index: 1, wnid: null, label: "tabby", probability: 0.4 }] };
  const reply = (json) => ({ before: (page) => page.route("**/classify", (route) => route.fulfill({ json: { ...answer, ...json } })) });
  await visit(browser, reply({ category: { wnid: null, name: "domestic cat", probability: 0.97 } }), async (page) => {
    await one(page);
    assert.equal(await page.textContent(".category"), "Category: domestic cat 97 %");
  });
  await visit(browser, reply({ predictions: [{ index: 0, wnid: null, label: "age", value: 31.25 }] }), async (page) => {
    await one(page);
    assert.equal(await page.textContent(".bars"), "age31.25");
    assert.equal(parseCsv(await download(page, "[data-do=csv]"))[0].probability_1, "31.25");
  });
});

test("200 photos: few tiles, a limited number of requests, a busy server, cancel and continue", () => {
  let running = 0, most = 0, answered = 0;
  const before = (page) => page.route("**/classify", async (route) => {
    most = Math.max(most, ++running);
    await new Promise((done) => setTimeout(done, 30));
    running -= 1;
    answered += 1;
    const predictions = [{ index: 0, wnid: null, label: "rocket", probability: 0.9 }];
    if (answered === 3) {
      await route.fulfill({ status: 429, headers: { "retry-after": "1" }, json: { title: "Too many requests", detail: "retry later", status: 429 } }).catch(() => {});
    } else await route.fulfill({ json: { model: "m", version: 1, predictions } }).catch(() => {});
  });
  return visit(browser, { before, refused: 1 }, async (page) => {
    await page.setInputFiles("#files", Array(200).fill(photos.rocket));
    await page.waitForFunction(() => /next try in 1 s/.test(document.querySelector("#progress-text").textContent));
    await page.waitForFunction(() => /^[2-9]\d of 200/.test(document.querySelector("#progress-text").textContent));
    await page.click("[data-do=cancel]");
    const stopped = await page.textContent("#progress-text");
    await page.waitForTimeout(300);
    assert.equal(await page.textContent("#progress-text"), stopped);
    await page.click("[data-do=resume]");
    await settled(page);
    assert.equal(await page.textContent("#progress-text"), "200 of 200 done");
    assert.ok(most <= 4, `${most} requests at a time`);
    const tiles = () => page.locator("#grid [role=option]").count();
    assert.ok((await tiles()) < 60, `${await tiles()} tiles`);
    await page.focus("#grid");
    await page.keyboard.press("End");
    await page.waitForSelector("[aria-posinset='200'][aria-selected=true]");
    assert.ok((await tiles()) < 60);
  });
});

test("by keyboard alone", () => visit(browser, {}, async (page) => {
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  const tabTo = async (selector) => {
    for (let i = 0; i < 40; i++) {
      if (await page.evaluate((s) => document.activeElement.matches(s), selector)) return;
      await press("Tab");
    }
    assert.fail(`Tab does not reach ${selector}`);
  };
  await press("Tab");
  assert.ok(await page.evaluate(() => document.activeElement.matches(".skip")));
  await tabTo("[data-example='cat.jpg']");
  await press("Enter");
  await settled(page);
  assert.equal(await page.evaluate(() => document.activeElement.id), "photo-title");
  await page.setInputFiles("#files", [photos.coffee, photos.rocket]);
  await settled(page);
  await tabTo("#grid");
  await press("Home");
  assert.equal(await title(page), "Egyptian cat");
  await press("ArrowRight");
  assert.equal(await title(page), "espresso");
  const active = await page.getAttribute("#grid", "aria-activedescendant");
  assert.match(await page.textContent(`#${active}`), /^coffee\.jpg: espresso/);
  await press("Delete", "Delete");
  assert.equal(await title(page), "Egyptian cat");
  await tabTo(".code summary");
  await press("Enter");
  await tabTo("[name=language]");
  await press("ArrowRight");
  assert.ok((await page.textContent(".code pre")).includes("urlopen"));
}));

for (const [width, scheme] of [[320, "dark"], [320, "light"], [768, "light"], [1440, "dark"], [1440, "light"]]) {
  test(`axe finds nothing, at ${width} pixels, ${scheme}`, async () => {
    await visit(browser, { width, scheme, refused: 1, before: withExplain }, async (page) => {
      const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.equal(dark, scheme === "dark" ? "rgb(20, 18, 16)" : "rgb(250, 248, 245)");
      await accessible(page, "empty");
      await one(page);
      await page.click(".code summary");
      await page.click("#card summary");
      await accessible(page, "one photo");
      await page.setInputFiles("#files", [photos.text, photos.rocket]);
      await settled(page);
      await accessible(page, "an error among several");
    });
    if ([320, 1440].includes(width) && (width === 320) !== (scheme === "dark")) return; // each width once
    await visit(browser, { at: "/docs", width, scheme }, async (page) => {
      await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
      await accessible(page, "docs");
    });
    await visit(browser, { at: "/status", width, scheme }, (page) => accessible(page, "status"));
  });
}

test("without motion nothing moves", () => visit(browser, { motion: "reduce" }, async (page) => {
  const moving = await page.evaluate(() => [...document.querySelectorAll("*")].filter((node) => {
    const { transitionDuration, animationName } = getComputedStyle(node);
    return transitionDuration !== "0s" || animationName !== "none";
  }).length);
  assert.equal(moving, 0);
}));

test("the reference is complete, searched, and tried", () => visit(browser, { at: "/docs#overloaded" }, async (page) => {
  const row = await page.locator("#overloaded").boundingBox();
  assert.ok(row.y >= 0 && row.y < 800, `the row of the problem is at ${row.y}`);
  const contract = await (await fetch(`${url}/openapi.json`)).json();
  const operations = Object.values(contract.paths).flatMap((item) => Object.values(item));
  for (const { operationId, summary } of operations) assert.equal(await page.textContent(`#${operationId} h2`), summary);
  await page.click("#classify .try summary");
  await page.fill("#classify-top_k", "2");
  await page.click("#classify .try button");
  await page.waitForSelector("#classify .output strong");
  assert.match(await page.textContent("#classify .output"), /200 OK POST \/classify\?top_k=2 .*Egyptian cat/s);
  await page.fill("#search", "Retry-After draining");
  assert.match(await page.textContent("#found"), /^\d+ of \d+ sections$/);
  assert.ok(await page.isHidden("#images"));
  assert.ok(await page.isVisible("#problems"));
}));

test("the status shows the requests", () => visit(browser, { at: "/status" }, async (page) => {
  const requests = () => page.evaluate(() => {
    const row = [...document.querySelectorAll("#routes tr")].find((tr) => tr.cells[0].textContent === "/classify");
    return Number(row?.cells[1].textContent.replace(",", "") ?? 0);
  });
  await page.waitForFunction(() => document.querySelector("#ready").textContent === "2 of 2");
  const before = await requests();
  assert.equal((await fetch(`${url}/classify`, { method: "POST", body: "x" })).status, 415);
  await page.waitForFunction((n) => [...document.querySelectorAll("#routes tr")].some((tr) => tr.cells[0].textContent === "/classify" && Number(tr.cells[1].textContent.replace(",", "")) > n), before);
  await page.click("#pause");
  assert.equal(await page.textContent("#state"), "Paused");
}));
