// The page at /status: reads /metrics and /models every two seconds.

import { ask } from "./api.js";
import { $, bytes, h, milliseconds } from "./dom.js";
import { buckets, parse, quantile, sum } from "./metrics.js";

const EVERY = 2000; // ms
const WINDOW = 60_000; // ms
const CLASSIFY = { route: (route) => /\/(classify|embed|explain)$/.test(route) };

const scrapes = []; // { at, samples }, the oldest first
let paused = false;

const number = (n) => n.toLocaleString("en");
const time = (seconds) => (seconds === undefined ? "–" : milliseconds(seconds * 1000));
const put = (id, text) => ($(`#${id}`).textContent = text);
const row = (cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell)));

async function tick() {
  if (paused || document.hidden) return;
  try {
    const [metrics, models] = await Promise.all(["/metrics", "/models"].map((path) => ask(path)));
    scrapes.push({ at: Date.now(), samples: parse(await metrics.text()) });
    while (scrapes.length > 2 && scrapes[1].at < Date.now() - WINDOW) scrapes.shift();
    show((await models.json()).models);
    put("state", "Live, every 2 seconds");
  } catch (error) {
    put("state", `No answer: ${error.detail ?? error}`);
  }
}

/** The oldest scrape of the window, if there were such requests since then. */
function before(name, where) {
  const [oldest] = scrapes;
  const newest = scrapes.at(-1);
  const count = (samples) => sum(samples, `${name}_count`, where);
  return count(newest.samples) > count(oldest.samples) ? oldest.samples : undefined;
}

const histogram = (name, where) => buckets(scrapes.at(-1).samples, before(name, where), name, where);

function show(models) {
  const { samples } = scrapes.at(-1);
  const rates = scrapes.slice(1).map(({ at, samples }, i) => {
    const last = scrapes[i];
    return (1000 * (images(samples) - images(last.samples))) / (at - last.at);
  });
  put("rate", rates.length ? rates.at(-1).toFixed(rates.at(-1) < 9.95 ? 1 : 0) : "0");
  line(rates);
  const latency = histogram("resnet_request_seconds", CLASSIFY);
  for (const q of [50, 90, 99]) put(`p${q}`, time(quantile(latency, q / 100)));
  put("flight", number(sum(samples, "resnet_images_in_flight")));
  put("queue", number(sum(samples, "resnet_queue_depth")));
  const [amount, unit] = bytes(sum(samples, "resnet_model_memory_bytes")).split(" ");
  put("memory", `${amount} ${unit}`);
  const versions = models.flatMap((model) => model.versions.map((version) => ({ ...version, name: model.name })));
  put("ready", `${versions.filter(({ state }) => state === "ready").length} of ${versions.length}`);
  batches();
  steps(samples);
  $("#models").replaceChildren(...versions.map((version) => modelRow(samples, version)));
  $("#routes").replaceChildren(...routes(samples).map((route) => routeRow(samples, route)));
}

const images = (samples) => sum(samples, "resnet_batch_images_sum");

function line(rates) {
  const most = Math.max(1, ...rates);
  const step = 100 / (WINDOW / EVERY);
  const points = rates.map((rate, i) => `${(100 - (rates.length - 1 - i) * step).toFixed(1)},${(29 - (28 * rate) / most).toFixed(1)}`);
  $("#rate-line polyline").setAttribute("points", points.join(" "));
}

const bar = (label, value, part) => h("li", {},
  h("span", {}, label), h("span", { class: "numbers" }, value),
  h("div", { class: "track", "aria-hidden": true }, h("div", { style: { width: `${100 * part}%` } })));

function batches() {
  const bounds = histogram("resnet_batch_images", {});
  const counts = bounds.map(([bound, upTo], i) => ({ low: (bounds[i - 1]?.[0] ?? 0) + 1, bound, n: upTo - (bounds[i - 1]?.[1] ?? 0) })).filter(({ n }) => n > 0);
  const total = counts.reduce((all, { n }) => all + n, 0);
  const label = ({ low, bound }) => (bound === Infinity ? `${low} or more` : low === bound ? `${bound}` : `${low} to ${bound}`);
  $("#batches").replaceChildren(...(total
    ? counts.map((one) => bar(`${label(one)} ${one.bound === 1 ? "image" : "images"}`, number(one.n), one.n / total))
    : [h("li", { class: "soft" }, "No batch yet")]));
}

function steps(samples) {
  const means = [["Decode", "decode"], ["Wait", "queue"], ["Network, per batch", "forward"]].map(([label, step]) => {
    const name = `resnet_${step}_seconds`;
    const old = before(name, {});
    const since = (part) => sum(samples, `${name}_${part}`) - (old ? sum(old, `${name}_${part}`) : 0);
    return [label, since("count") ? since("sum") / since("count") : 0];
  });
  const most = Math.max(1e-9, ...means.map(([, mean]) => mean));
  $("#steps").replaceChildren(...means.map(([label, mean]) => bar(label, time(mean), mean / most)));
}

function modelRow(samples, { name, version, state, reason }) {
  const where = { model: name, version: String(version) };
  const info = (samples.get("resnet_model_info") ?? []).find(({ labels }) => labels.model === name && labels.version === where.version)?.labels;
  return row([
    name, String(version),
    h("span", { class: "state", "data-state": state, title: reason }, reason && state !== "ready" ? `${state}: ${reason}` : state),
    number(sum(samples, "resnet_batch_images_sum", where)),
    info ? bytes(sum(samples, "resnet_model_memory_bytes", where)) : "–",
    info ? `${info.architecture}, ${info.dtype} on ${info.device}` : "–",
  ]);
}

const routes = (samples) => [...new Set((samples.get("resnet_requests_total") ?? []).filter(({ value }) => value > 0).map(({ labels }) => labels.route))]
  .sort((a, b) => sum(samples, "resnet_requests_total", { route: b }) - sum(samples, "resnet_requests_total", { route: a }));

function routeRow(samples, route) {
  const latency = histogram("resnet_request_seconds", { route });
  const errors = sum(samples, "resnet_requests_total", { route, status: (status) => status >= 400 });
  return row([h("code", {}, route), number(sum(samples, "resnet_requests_total", { route })), number(errors),
    time(quantile(latency, 0.5)), time(quantile(latency, 0.99))]);
}

$("#pause").addEventListener("click", ({ currentTarget }) => {
  paused = !paused;
  currentTarget.setAttribute("aria-pressed", paused);
  if (paused) put("state", "Paused");
  else tick();
});
document.addEventListener("visibilitychange", tick);
tick();
setInterval(tick, EVERY);
