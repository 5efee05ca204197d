// The grid of photos. Only the visible tiles are in the document, so that
// hundreds of photos scroll smoothly.

import { $, h, score } from "./dom.js";

const GAP = 10;
const CAPTION = 46;
const NARROWEST = 112;
const DENSITY = Math.min(2, devicePixelRatio || 1);

export class Grid {
  #tiles = new Map();
  #columns = 1;
  #side = NARROWEST;

  /** `select(photo)` and `remove(photo)` are called for what the user does. */
  constructor({ select, remove }) {
    this.box = $("#grid");
    this.runway = $("#runway");
    this.photos = [];
    this.selected = undefined;
    Object.assign(this, { select, remove });
    new ResizeObserver(() => this.layout()).observe(this.box);
    this.box.addEventListener("scroll", () => this.#soon(), { passive: true });
    this.box.addEventListener("keydown", (event) => this.#key(event));
    this.box.addEventListener("click", ({ target }) => {
      const tile = target.closest("[role=option]");
      if (tile) this.select(this.photos[tile.dataset.index]);
    });
  }

  #soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.draw();
    });
  }

  /** Computes the columns for the width of the box. */
  layout() {
    const style = getComputedStyle(this.box);
    const width = this.box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    if (width <= 0) return;
    this.#columns = Math.max(1, Math.floor((width + GAP) / (NARROWEST + GAP)));
    this.#side = (width - GAP * (this.#columns - 1)) / this.#columns;
    this.draw(true);
  }

  get #row() {
    return this.#side + CAPTION + GAP;
  }

  /** Draws the visible tiles. With `all`, also those that exist already. */
  draw(all = false) {
    const { box, photos } = this;
    const rows = Math.ceil(photos.length / this.#columns);
    this.runway.style.setProperty("height", `${rows * this.#row}px`);
    const first = Math.max(0, Math.floor(box.scrollTop / this.#row) - 1) * this.#columns;
    const last = (Math.ceil((box.scrollTop + box.clientHeight) / this.#row) + 1) * this.#columns;
    const visible = new Set(photos.slice(first, last));
    if (this.selected) visible.add(this.selected); // aria-activedescendant refers to it
    for (const [photo, tile] of this.#tiles) {
      if (visible.has(photo)) continue;
      tile.remove();
      this.#tiles.delete(photo);
    }
    const indices = new Map(photos.map((photo, i) => [photo, i]));
    for (const photo of visible) {
      if (all || !this.#tiles.has(photo)) this.#place(photo, indices.get(photo));
    }
  }

  /** Draws one photo again, if it is visible. */
  changed(photo) {
    const tile = this.#tiles.get(photo);
    if (tile) this.#fill(tile, photo);
  }

  show(photo) {
    const before = this.selected;
    this.selected = photo;
    if (!photo) return this.box.removeAttribute("aria-activedescendant");
    const row = Math.floor(this.photos.indexOf(photo) / this.#columns) * this.#row;
    const { box } = this;
    if (row < box.scrollTop) box.scrollTop = row;
    if (row + this.#row > box.scrollTop + box.clientHeight) box.scrollTop = row + this.#row - box.clientHeight;
    this.draw();
    for (const one of [before, photo]) if (one) this.changed(one);
    box.setAttribute("aria-activedescendant", `tile-${photo.id}`);
  }

  #place(photo, index) {
    let tile = this.#tiles.get(photo);
    if (!tile) {
      tile = h("div", { role: "option", id: `tile-${photo.id}` },
        h("canvas"), h("span", { class: "unseen" }, `${photo.name}: `), h("span", { class: "name" }), " ", h("span", { class: "value small numbers" }));
      this.#tiles.set(photo, tile);
      this.runway.append(tile);
    }
    const x = (index % this.#columns) * (this.#side + GAP);
    const y = Math.floor(index / this.#columns) * this.#row;
    tile.dataset.index = index;
    tile.setAttribute("aria-setsize", this.photos.length);
    tile.setAttribute("aria-posinset", index + 1);
    tile.style.setProperty("width", `${this.#side}px`);
    tile.style.setProperty("transform", `translate(${x}px, ${y}px)`);
    this.#fill(tile, photo);
  }

  #fill(tile, photo) {
    const [name, value] = words(photo);
    tile.dataset.state = photo.state;
    if (photo.undecodable) tile.dataset.format = photo.format ?? "?";
    tile.setAttribute("aria-selected", photo === this.selected);
    $(".name", tile).textContent = name;
    $(".value", tile).textContent = value;
    thumbnail($("canvas", tile), photo, this.#side);
  }

  #key(event) {
    const at = this.photos.indexOf(this.selected);
    const last = this.photos.length - 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.#columns, ArrowUp: -this.#columns };
    const targets = { Home: 0, End: last };
    if (event.key in steps || event.key in targets) {
      const to = targets[event.key] ?? Math.min(last, Math.max(0, at + steps[event.key]));
      this.select(this.photos[to]);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      if (this.selected) this.remove(this.selected);
    } else if (event.key === "Enter") {
      $("#photo-title").focus();
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** The two texts of a tile. */
function words({ state, result, error }) {
  const best = result?.predictions?.[0];
  if (best) return [best.label, score(best)];
  if (error) return [error.title, ""];
  return [{ waiting: "Waiting", running: "Classifying", cancelled: "Cancelled" }[state] ?? state, ""];
}

/** Draws the middle square of the photo. */
function thumbnail(canvas, { thumbnail }, side) {
  const pixels = Math.round(side * DENSITY);
  if (canvas.drawn === thumbnail && canvas.width === pixels) return;
  [canvas.width, canvas.height, canvas.drawn] = [pixels, pixels, thumbnail];
  if (!thumbnail) return;
  const { width, height } = thumbnail;
  const square = Math.min(width, height);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(thumbnail, (width - square) / 2, (height - square) / 2, square, square, 0, 0, pixels, pixels);
}
