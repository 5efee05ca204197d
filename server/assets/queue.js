// Sends a limited number of requests at a time, and waits when the server is busy.

const PARALLEL = 4;
/** A server that stays busy for so many waits is reported instead. */
const MOST_WAITS = 20;

export class Queue {
  #waiting = [];
  #running = new Map();
  #pausedUntil = 0;
  #timer;

  /** `run(item, signal)` does the work; a rejection with `again` puts the item back. */
  constructor(run, settled) {
    this.run = run;
    this.settled = settled;
  }

  get length() {
    return this.#waiting.length + this.#running.size;
  }

  /** Seconds until the next request, when the server asked to wait. */
  get pause() {
    return Math.max(0, Math.ceil((this.#pausedUntil - Date.now()) / 1000));
  }

  add(items) {
    this.#waiting.push(...items.map((item) => ({ item, waits: 0 })));
    this.#next();
  }

  /** Ends the work on one item, or on all. Returns those that had no result yet. */
  cancel(only) {
    const hit = ({ item }) => !only || item === only;
    const ended = [...this.#running.keys(), ...this.#waiting].filter(hit);
    this.#waiting = this.#waiting.filter((job) => !hit(job));
    for (const [job, controller] of this.#running) if (hit(job)) controller.abort();
    for (const job of ended) this.#running.delete(job);
    if (!only) this.#pausedUntil = 0;
    this.#next();
    return ended.map(({ item }) => item);
  }

  #next() {
    clearTimeout(this.#timer);
    const wait = this.#pausedUntil - Date.now();
    if (wait > 0) {
      this.#timer = setTimeout(() => this.#next(), wait);
      return;
    }
    while (this.#running.size < PARALLEL && this.#waiting.length) this.#start(this.#waiting.shift());
  }

  async #start(job) {
    const controller = new AbortController();
    this.#running.set(job, controller);
    let outcome;
    try {
      outcome = { value: await this.run(job.item, controller.signal) };
    } catch (error) {
      outcome = { error };
    }
    if (!this.#running.delete(job)) return; // cancelled
    const { again } = outcome.error ?? {};
    if (again && ++job.waits < MOST_WAITS) {
      this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + again);
      this.#waiting.unshift(job);
      outcome = { again };
    }
    this.settled(job.item, outcome);
    this.#next();
  }
}
