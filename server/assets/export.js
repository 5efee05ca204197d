// The results as CSV and JSON.

import { save } from "./dom.js";

const TOP = 5;
const TIMES = ["decode", "queue", "forward", "total"];

const row = (photo) => {
  const { result, timing, error } = photo;
  const predictions = result?.predictions ?? [];
  const cells = {
    file: photo.name, format: photo.format, bytes: photo.file.size, width: photo.width, height: photo.height,
    state: photo.state, error: error && `${error.title}: ${error.detail}`,
    model: result?.model, version: result?.version,
    category: result?.category?.name, category_probability: result?.category?.probability,
  };
  for (let i = 0; i < TOP; i++) {
    cells[`label_${i + 1}`] = predictions[i]?.label;
    // A regression has values instead.
    cells[`probability_${i + 1}`] = predictions[i]?.probability ?? predictions[i]?.value;
  }
  for (const name of TIMES) cells[`${name}_ms`] = timing?.[name]?.toFixed(2);
  return cells;
};

/** RFC 4180. A text that a spreadsheet would run as a formula gets an apostrophe. */
const cell = (value) => {
  const text = String(value ?? "").replace(/^[=+\-@\t\r]/, (first) => (typeof value === "string" && Number.isNaN(Number(value)) ? `'${first}` : first));
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function csv(photos) {
  const rows = photos.map(row);
  const lines = [Object.keys(rows[0] ?? {}), ...rows.map(Object.values)];
  return lines.map((cells) => cells.map(cell).join(",") + "\r\n").join("");
}

export const json = (photos) => JSON.stringify(photos.map((photo) => ({
  file: photo.name, format: photo.format, bytes: photo.file.size, width: photo.width, height: photo.height,
  state: photo.state,
  result: photo.result,
  error: photo.error && { title: photo.error.title, detail: photo.error.detail, status: photo.error.status },
  timing_ms: photo.timing,
})), null, 2);

export const saveCsv = (photos) => save("resnet.csv", "text/csv", csv(photos));
export const saveJson = (photos) => save("resnet.json", "application/json", json(photos));
