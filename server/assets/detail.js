// The selected photo: the picture with its overlays, and the result in numbers.

import { $, bytes, copyButton, h, milliseconds, percent, score } from "./dom.js";
import { HeatMap } from "./heat.js";
import { snippets } from "./snippets.js";

const STEPS = { decode: "Decode", queue: "Wait", forward: "Network", rest: "Other" };
let language = "curl";

export class Detail {
  /** `retry(photo)` classifies a photo again. */
  constructor({ retry }) {
    this.retry = retry;
    this.box = $("#photo");
    this.picture = h("div", { class: "picture" });
    this.name = h("p", { class: "soft small file" });
    this.title = h("h2", { id: "photo-title", tabindex: -1 });
    this.rest = h("div", { class: "rest" });
    this.heat = new HeatMap(this.picture);
    this.box.append(this.picture, h("div", { class: "text" }, this.name, this.title, this.rest));
  }

  /** Shows a photo, or nothing. */
  show(photo) {
    this.photo = photo;
    if (!photo) return;
    this.heat.show(photo);
    this.#write();
  }

  /** Draws the photo again, if it is the one that is shown. */
  changed(photo) {
    if (photo !== this.photo) return;
    this.heat.changed();
    this.#write();
  }

  #write() {
    const { photo } = this;
    const { result, error } = photo;
    const best = result?.predictions?.[0];
    const open = $("details", this.rest)?.open ?? false;
    const focused = this.rest.contains(document.activeElement);
    this.name.textContent = photo.name;
    this.title.textContent = best?.label ?? error?.title ?? (photo.state === "cancelled" ? "Cancelled" : "Classifying …");
    this.rest.replaceChildren(...[
      error && this.#problem(error),
      photo.state === "cancelled" && this.#again("This photo was not classified.", "Classify it"),
      result?.category && category(result.category),
      best && bars(result.predictions),
      best && times(photo.timing),
      facts(photo),
      best && code(photo, open),
    ].filter(Boolean));
    if (focused) this.title.focus({ preventScroll: true });
  }

  #problem({ detail, type, id }) {
    return h("div", { class: "problem" },
      h("p", {}, sentence(detail)),
      (type || id) && h("p", { class: "small soft" },
        type && h("a", { href: type }, "About this error"), id && [" · request ", h("code", {}, id)]),
      this.#again(undefined, "Try again"));
  }

  #again(text, label) {
    const again = h("button", { class: "button", type: "button", onclick: () => this.retry(this.photo) }, label);
    return h("div", { class: "again" }, text && h("p", {}, text), again);
  }
}

const sentence = (text) => (text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "");

const category = ({ name, probability }) => h("p", { class: "category" },
  "Category: ", h("strong", {}, name), ` ${percent(probability)}`);

/** The most probable classes as bars. */
const bars = (predictions) => h("ol", { class: "bars", "aria-label": "Most probable classes" },
  predictions.map((prediction) => h("li", { title: prediction.wnid },
    h("span", {}, prediction.label),
    h("span", { class: "numbers" }, score(prediction)),
    prediction.probability !== undefined && h("div", { class: "track", "aria-hidden": true },
      h("div", { style: { width: `${100 * prediction.probability}%` } })))));

/** Where the time went: the steps of the server, and the rest of the round trip. */
function times({ total, decode, queue, forward }) {
  const known = [decode, queue, forward].reduce((sum, ms) => sum + (ms ?? 0), 0);
  const parts = Object.entries({ decode, queue, forward, rest: Math.max(0, total - known) })
    .filter(([, ms]) => ms !== undefined);
  return h("section", { class: "times", "aria-label": "Time" },
    h("h3", {}, "Time ", h("span", { class: "soft numbers" }, milliseconds(total))),
    h("div", { class: "stack", "aria-hidden": true },
      parts.map(([name, ms]) => h("div", { "data-step": name, style: { "flex-grow": ms } }))),
    h("dl", {}, parts.map(([name, ms]) => h("div", { "data-step": name },
      h("dt", {}, STEPS[name]), h("dd", { class: "numbers" }, milliseconds(ms))))));
}

function facts({ file, format, width, height, result }) {
  const rows = {
    Format: format ?? "unknown",
    Size: [width && `${width} × ${height} pixels, `, bytes(file.size)].filter(Boolean).join(""),
    Model: result && `${result.model}, version ${result.version}`,
  };
  return h("dl", { class: "facts" }, Object.entries(rows).filter(([, value]) => value).map(([key, value]) =>
    h("div", {}, h("dt", {}, key), h("dd", { class: "numbers" }, value))));
}

/** The request as a program, in the language of the last choice. */
function code(photo, open) {
  const texts = snippets(location.origin + photo.path, photo.name);
  const pre = h("pre", { tabindex: 0, "aria-label": "Code" });
  const show = () => (pre.textContent = texts[language]);
  show();
  const choices = Object.keys(texts).map((name) => h("label", {},
    h("input", { type: "radio", name: "language", value: name, checked: name === language, onchange: () => {
      language = name;
      show();
    } }), h("span", {}, name)));
  return h("details", { class: "code", open },
    h("summary", {}, "Send this request yourself"),
    h("div", { class: "row" }, h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, "Language"), choices),
      copyButton(() => pre.textContent)),
    pre,
    h("p", { class: "small" }, h("a", { href: "/docs" }, "All requests and responses")));
}
