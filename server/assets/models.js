// The model picker and the card of the chosen model.

import { ask } from "./api.js";
import { $, bytes, count, h } from "./dom.js";

let chosen = { base: "", name: undefined };
let info;

/** The path of an operation of the chosen model, such as `/classify`. */
export const path = (operation) => chosen.base + operation;

/** The preprocessing of the chosen model, once it is known. */
export const preprocessing = () => info?.input?.preprocessing;

/** Fills the picker. Calls `changed()` after another model is chosen. */
export async function models(changed) {
  const select = $("#model-select");
  let list;
  try {
    list = (await (await ask("/models")).json()).models;
  } catch (error) {
    $("#card-line").textContent = error.detail;
    return;
  }
  const choices = list.flatMap(choicesOf);
  const first = Math.max(0, choices.findIndex((choice) => choice.first));
  select.append(...choices.map((choice, i) => h("option", { value: i, selected: i === first }, choice.text)));
  select.disabled = choices.length < 2;
  chosen = choices[first] ?? chosen;
  select.addEventListener("change", () => {
    chosen = choices[select.value];
    info = undefined;
    card();
    changed();
  });
  await card();
}

/** The default model without a version uses the plain routes. */
function choicesOf({ name, default: isDefault, versions }) {
  const several = versions.length > 1;
  const state = several ? "ready" : versions[0]?.state;
  const note = state && state !== "ready" ? ` (${state})` : "";
  const whole = { name, base: isDefault ? "" : `/models/${name}`, first: isDefault, text: name + note };
  if (!several) return [whole];
  return [whole, ...versions.map(({ version, state }) => ({
    name, version, base: `/models/${name}/versions/${version}`,
    text: `${name}, version ${version}${state === "ready" ? "" : ` (${state})`}`,
  }))];
}

/** Shows what is known about the chosen model. */
export async function card() {
  const { name, version, base } = chosen;
  if (!name) return;
  const line = $("#card-line");
  try {
    const model = await (await ask(`/models/${name}`)).json();
    if (chosen.base !== base) return;
    const ready = (v) => v.architecture && (version === undefined || v.version === version);
    info = model.versions.findLast(ready);
    line.textContent = info
      ? `${info.architecture} · ${info.classes} classes · ${info.dtype} on ${info.device}`
      : `Not loaded: ${model.versions[0]?.reason ?? model.reason ?? model.versions[0]?.state}`;
    $("#card-facts").replaceChildren(...(info ? facts(info) : []));
  } catch (error) {
    line.textContent = error.detail;
  }
}

const resizeText = ({ short_side, exact }) =>
  short_side ? `short side to ${short_side} pixels` : `both sides to ${exact} pixels`;

function facts(info) {
  const { input } = info;
  const { resize, crop, interpolation, mean, std } = input.preprocessing;
  const rows = {
    Architecture: info.architecture,
    Version: info.version,
    Size: `${count(info.parameters)} parameters, ${count(info.multiply_adds)} multiply-adds per image`,
    Classes: info.classes,
    Input: `${input.width} × ${input.height} pixels, ${input.channels}`,
    Preprocessing: `${resizeText(resize)} (${interpolation}), centre crop of ${crop}, mean ${mean.join(", ")}, deviation ${std.join(", ")}`,
    Runs: `${info.engine} kernels (${info.isa}), ${info.dtype}, on ${info.device}`,
    Memory: bytes(info.memory_bytes),
    Digest: h("code", {}, info.digest),
  };
  return Object.entries(rows).map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value)));
}
