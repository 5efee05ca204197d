// The picture of the selected photo with its heat map, the crop and their controls.

import { explain, hasRoute } from "./api.js";
import { $, h, score } from "./dom.js";
import { path, preprocessing } from "./models.js";
import { drawMap, place } from "./overlay.js";
import { cropOf } from "./photos.js";

const CLASSES = 5;
const MOST_WAITS = 5;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class HeatMap {
  constructor(box) {
    const redraw = () => this.draw();
    this.image = h("img", {});
    this.canvas = h("canvas", { "aria-hidden": true, hidden: true });
    this.crop = h("div", { class: "crop", hidden: true });
    this.frame = h("div", { class: "frame" }, this.image, this.canvas, this.crop);
    this.missing = h("p", { class: "missing soft", hidden: true });
    this.on = h("input", { type: "checkbox", checked: true, onchange: () => this.changed() });
    this.classes = h("select", { onchange: redraw });
    this.opacity = h("input", { type: "range", min: 0, max: 100, value: 60, oninput: redraw });
    this.cropOn = h("input", { type: "checkbox", checked: true, onchange: redraw });
    this.heatControls = h("div", { class: "row", hidden: true },
      h("label", { class: "check" }, this.on, "Heat map"),
      h("label", {}, h("span", {}, "Class"), this.classes),
      h("label", {}, h("span", {}, "Opacity"), this.opacity));
    this.note = h("p", { class: "small soft", role: "status" });
    this.controls = h("div", { class: "controls", role: "group", "aria-label": "Overlays" },
      this.heatControls, h("label", { class: "check" }, this.cropOn, "Crop that the network sees"));
    box.append(h("div", { class: "stage" }, this.frame, this.missing), this.controls, this.note);
    hasRoute("/explain").then((exists) => {
      this.heatControls.hidden = !exists;
      $("#lead-map").hidden = !exists;
      this.changed();
    });
  }

  show(photo) {
    if (photo !== this.photo) {
      if (this.image.src) URL.revokeObjectURL(this.image.src);
      this.image.src = URL.createObjectURL(photo.file);
      this.image.alt = photo.name;
    }
    this.photo = photo;
    this.changed();
  }

  /** The photo has a result or a size now, or a control was used. */
  changed() {
    const { photo } = this;
    if (!photo) return;
    const { width, height, undecodable } = photo;
    this.frame.hidden = Boolean(undecodable);
    this.missing.hidden = !undecodable;
    this.missing.textContent = photo.format
      ? `This browser cannot show the ${photo.format} file.` : "There is no picture to show.";
    this.controls.hidden = !width || !photo.result;
    if (width) {
      this.frame.style.setProperty("--ratio", width / height);
      this.frame.style.setProperty("--width", `${width}px`);
    }
    if (photo.result && this.on.checked && !this.heatControls.hidden) this.#load(photo);
    this.draw();
  }

  /** Requests the maps of a photo once. */
  async #load(photo) {
    if (photo.explained) return;
    const mark = (photo.explained = { waiting: true });
    try {
      Object.assign(mark, await this.#request(photo));
    } catch (error) {
      mark.refused = error.detail ?? String(error);
    }
    mark.waiting = false;
    if (photo === this.photo) this.draw();
  }

  async #request(photo) {
    for (let waits = 0; ; waits++) {
      try {
        return await explain(path(`/explain?top_k=${CLASSES}`), photo.file);
      } catch (error) {
        if (!error.again || waits === MOST_WAITS) throw error;
        await pause(error.again);
      }
    }
  }

  /** Draws the overlays as the controls say. */
  draw() {
    const { photo, canvas, crop } = this;
    if (!photo) return;
    const { explained, width, height, result } = photo;
    const maps = explained?.maps ?? [];
    this.#list(maps);
    const map = this.on.checked && !this.heatControls.hidden && maps[this.classes.selectedIndex];
    const seen = explained?.crop ?? (width && preprocessing() && cropOf(photo, preprocessing()));
    canvas.hidden = !map || !width;
    if (!canvas.hidden) {
      // A map of the size of the photo covers all of it, a smaller one the crop.
      const whole = map.values.length === explained.height && map.values[0].length === explained.width;
      place(canvas, whole ? { x: 0, y: 0, width, height } : seen, photo);
      canvas.style.setProperty("opacity", this.opacity.value / 100);
      if (canvas.drawn !== map) drawMap(canvas, map.values);
      canvas.drawn = map;
    }
    crop.hidden = !(this.cropOn.checked && seen && result);
    if (!crop.hidden) place(crop, seen, photo);
    this.note.textContent = !this.on.checked || !explained ? ""
      : explained.waiting ? "Computing the heat map …"
      : explained.refused ? `No heat map: ${explained.refused}` : "";
  }

  #list(maps) {
    if (this.classes.maps === maps || (!maps.length && !this.classes.maps?.length && this.classes.maps)) return;
    this.classes.maps = maps;
    this.classes.disabled = !maps.length;
    this.classes.replaceChildren(...maps.map((map) => h("option", {}, `${map.label}, ${score(map)}`)));
  }
}
