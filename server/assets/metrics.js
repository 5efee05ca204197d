// OpenMetrics text: parsing, sums, and quantiles of histograms.

/** The samples of a text: name -> [{ labels, value }]. */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split("\n")) {
    const match = line.match(/^(\w+)(?:\{(.*)\})? (\S+)$/);
    if (!match) continue;
    const [, name, inner, value] = match;
    const labels = {};
    for (const [, key, quoted] of (inner ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = quoted.replace(/\\(.)/g, "$1");
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({ labels, value: Number(value) });
  }
  return samples;
}

const matches = (labels, where) => Object.entries(where).every(([key, value]) =>
  (typeof value === "function" ? value(labels[key]) : labels[key] === value));

export const sum = (samples, name, where = {}) => (samples.get(name) ?? [])
  .filter(({ labels }) => matches(labels, where)).reduce((total, { value }) => total + value, 0);

/** Counts of a histogram between two scrapes, [upper bound, count up to it] in ascending order. */
export function buckets(now, before, name, where = {}) {
  const counts = new Map();
  for (const [samples, sign] of [[now, 1], [before, -1]]) {
    for (const { labels, value } of samples?.get(`${name}_bucket`) ?? []) {
      if (!matches(labels, where)) continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      counts.set(bound, (counts.get(bound) ?? 0) + sign * value);
    }
  }
  return [...counts].sort(([a], [b]) => a - b);
}

/** A quantile by linear interpolation within its bucket, as Prometheus does. */
export function quantile(buckets, q) {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (!total) return undefined;
  let [low, below] = [0, 0];
  for (const [bound, upTo] of buckets) {
    if (upTo >= q * total) {
      return bound === Infinity ? low : low + ((bound - low) * (q * total - below)) / Math.max(1, upTo - below);
    }
    [low, below] = [bound, upTo];
  }
  return low;
}
