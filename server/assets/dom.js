// Elements and numbers: what every module of the pages needs.

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element. `on…` props are listeners, `style` is an object: the policy forbids style attributes. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

export const percent = (p) => (p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : "< 0.1 %");

/** The probability of a class, or the value of a regression. */
export const score = ({ probability, value }) => (probability === undefined ? String(Number(value?.toPrecision(4))) : percent(probability));

export const milliseconds = (ms) => (ms >= 9.95 ? `${ms.toFixed(0)} ms` : `${ms.toFixed(1)} ms`);

export function bytes(n) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (n >= 999.5 && unit < 3) [n, unit] = [n / 1000, unit + 1];
  return `${unit && n < 9.95 ? n.toFixed(1) : n.toFixed(0)} ${units[unit]}`;
}

/** 6927528 -> 6.9 M */
export function count(n) {
  for (const [size, unit] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (n >= size) return (n / size).toPrecision(3).replace(/\.?0+$/, "") + unit;
  }
  return String(n);
}

/** Offers text as a file. */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A button that copies what `text()` returns. */
export function copyButton(text) {
  const button = h("button", { class: "button copy", type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    // navigator.clipboard is missing on plain http, except on localhost.
    const done = await navigator.clipboard?.writeText(text()).then(() => true, () => false);
    button.textContent = done ? "Copied" : "Select and copy";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return button;
}
