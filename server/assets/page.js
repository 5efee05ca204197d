// The page at /: connects the photos, the queue, the grid and the detail view.

import { classify } from "./api.js";
import { Detail } from "./detail.js";
import { $, score } from "./dom.js";
import { saveCsv, saveJson } from "./export.js";
import { Grid } from "./grid.js";
import { intake, openCamera, pick } from "./intake.js";
import { card, models, path } from "./models.js";
import { photo as newPhoto, read } from "./photos.js";
import { Queue } from "./queue.js";

const ANNOUNCE_EVERY = 4000; // ms, while photos are classified

const photos = [];
let selected;
const queue = new Queue(run, settled);
const grid = new Grid({ select, remove });
const detail = new Detail({ retry: (photo) => start([photo]) });
grid.photos = photos;

function run(photo, signal) {
  photo.state = "running";
  photo.path = path("/classify");
  changed(photo);
  return classify(photo.path, photo.file, signal);
}

function settled(photo, { value, error, again }) {
  if (again) photo.state = "waiting";
  else if (error) Object.assign(photo, { state: "failed", error: error.title ? error : { title: "Error", detail: String(error) } });
  else Object.assign(photo, { state: "done", result: value.json, timing: value.timing });
  changed(photo);
  progress();
}

function changed(photo) {
  grid.changed(photo);
  detail.changed(photo);
}

function add(files) {
  if (!files.length) return;
  const fresh = files.map(newPhoto);
  photos.push(...fresh);
  layout();
  start(fresh);
  for (const photo of fresh) read(photo, changed);
  select(fresh[0]);
  (photos.length > 1 ? grid.box : $("#photo-title")).focus({ preventScroll: true });
}

/** Classifies photos, also again. */
function start(some) {
  for (const photo of some) {
    Object.assign(photo, { state: "waiting", result: undefined, error: undefined, timing: undefined, explained: undefined });
    changed(photo);
  }
  queue.add(some);
  progress();
}

function select(photo) {
  selected = photo;
  grid.show(photo);
  detail.show(photo);
}

function remove(photo) {
  const at = photos.indexOf(photo);
  queue.cancel(photo);
  photo.removed = true;
  photo.thumbnail?.close();
  photos.splice(at, 1);
  if (photo === selected) selected = grid.selected = undefined;
  layout();
  if (photos.length) select(photos[Math.min(at, photos.length - 1)]);
  progress();
}

function clear() {
  queue.cancel();
  for (const photo of photos) {
    photo.removed = true;
    photo.thumbnail?.close();
  }
  photos.length = 0;
  select(undefined);
  layout();
  progress();
}

function cancel() {
  for (const photo of queue.cancel()) {
    photo.state = "cancelled";
    changed(photo);
  }
  progress();
}

/** The empty state, one photo, or a grid of several. */
function layout() {
  const none = photos.length === 0;
  const had = document.activeElement;
  $("#empty").hidden = !none;
  $("#work").hidden = none;
  $("#work").classList.toggle("one", photos.length === 1);
  if (none && had !== document.body) $("#main").focus({ preventScroll: true });
  grid.layout();
  grid.draw(true);
}

let announced = 0;
function progress() {
  const finished = photos.filter(({ state }) => state === "done" || state === "failed").length;
  const failed = photos.filter(({ state }) => state === "failed").length;
  const busy = queue.length > 0;
  const errors = failed ? `, ${failed} with an error` : "";
  const wait = queue.pause ? `. The server is busy: next try in ${queue.pause} s` : "";
  const text = `${finished} of ${photos.length} done${errors}${busy ? wait : ""}`;
  Object.assign($("#progress-bar"), { max: Math.max(1, photos.length), value: finished, hidden: !busy });
  $("#progress-text").textContent = text;
  $("[data-do=cancel]").hidden = !busy;
  $("[data-do=resume]").hidden = busy || !photos.some(({ state }) => state === "cancelled");
  for (const name of ["csv", "json"]) $(`[data-do=${name}]`).disabled = finished === 0;
  announce(busy, text);
}

/** Tells a screen reader, at most every few seconds. */
function announce(busy, text) {
  if (!photos.length) return;
  if (busy && Date.now() - announced < ANNOUNCE_EVERY) return;
  announced = Date.now();
  const [only] = photos;
  const best = only.result?.predictions?.[0];
  $("#live").textContent = photos.length > 1 || busy ? text
    : best ? `${only.name}: ${best.label}, ${score(best)}`
    : `${only.name}: ${only.error?.title ?? only.state}. ${only.error?.detail ?? ""}`;
}

const actions = {
  pick, clear, cancel,
  camera: openCamera,
  resume: () => start(photos.filter(({ state }) => state === "cancelled")),
  csv: () => saveCsv(photos),
  json: () => saveJson(photos),
};
for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => actions[button.dataset.do]());
}
intake(add);
models(() => {
  queue.cancel();
  start([...photos]);
}).then(() => selected && changed(selected));
// A model that loads while the page is open.
$("#card").addEventListener("toggle", () => $("#card").open && card());
setInterval(() => queue.pause && progress(), 1000);
