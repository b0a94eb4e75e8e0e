// Zones: drawn with mouse, finger or arrow keys, or given as numbers; listed with what they have seen.

import { ask } from "./connection.js";

const NEAR_PX = 14; // a click so near to the first corner closes the zone
const DRAG_PX = 12; // a pointer that moves so far draws a box
const SETTLING_MS = 2000; // pictures that were on their way when zones changed do not know of the change

export class Zones {
  constructor(elements, view, notify) {
    Object.assign(this, elements, { view, notify });
    this.known = "";
    this.settled = 0;
    this.limits = { zones: 16, corners: 32 };
    this.renew([]);
    this.draw.addEventListener("click", () => this.toggle());
    const on = (kind, act) => view.canvas.addEventListener(kind, (event) => view.draft && act(event));
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", () => { this.from = null; });
    on("keydown", (event) => this.key(event));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map((name) => Number(this.form.elements[name].value) / 100);
      if (!view.header) return this.notify("No picture has come yet.");
      if (left >= right || top >= bottom) return this.notify("Right must be greater than left, and bottom greater than top.");
      const [w, h] = view.header.size_wh;
      return this.add([[left * w, top * h], [right * w, top * h], [right * w, bottom * h], [left * w, bottom * h]]);
    });
  }

  toggle() {
    if (this.view.draft) return this.end();
    if (!this.view.header) return this.notify("No picture has come yet.");
    const [w, h] = this.view.header.size_wh;
    this.view.draft = { corners: [], cursor: null };
    this.place = [w / 2, h / 2];
    this.view.holder.classList.add("drawing");
    this.draw.setAttribute("aria-pressed", "true");
    this.draw.firstElementChild.textContent = "Cancel";
    this.hint.hidden = false;
    this.view.canvas.focus();
    this.view.holder.scrollIntoView({ block: "nearest" });
    return this.view.invalidate();
  }

  end() {
    this.view.draft = null;
    this.from = null;
    this.view.holder.classList.remove("drawing");
    this.draw.setAttribute("aria-pressed", "false");
    this.draw.firstElementChild.textContent = "Draw";
    this.hint.hidden = true;
    this.view.invalidate();
  }

  down(event) {
    event.preventDefault();
    this.view.canvas.focus();
    this.view.canvas.setPointerCapture(event.pointerId);
    this.from = { x: event.clientX, y: event.clientY, place: this.view.toSource(event), dragged: false };
  }

  move(event) {
    const place = this.view.toSource(event);
    const { corners } = this.view.draft;
    const far = this.from && Math.hypot(event.clientX - this.from.x, event.clientY - this.from.y) > DRAG_PX;
    if (this.from && (far || this.from.dragged) && (corners.length === 0 || this.from.dragged)) {
      this.from.dragged = true;
      const [[x1, y1], [x2, y2]] = [this.from.place, place];
      this.view.draft = { corners: [[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]], cursor: null };
    } else if (corners.length) this.view.draft.cursor = place;
    this.view.invalidate();
  }

  up(event) {
    if (!this.from) return;
    const { dragged, place } = this.from;
    this.from = null;
    if (dragged) {
      this.add(this.view.draft.corners.slice(0, 4));
      return;
    }
    const { corners } = this.view.draft;
    const scale = this.view.canvas.clientWidth / this.view.header.size_wh[0];
    const isFirst = corners.length > 2 && Math.hypot(place[0] - corners[0][0], place[1] - corners[0][1]) * scale < NEAR_PX;
    if (isFirst || event.detail > 1) this.close();
    else this.corner(place);
  }

  corner(place) {
    const { corners } = this.view.draft;
    if (corners.length >= this.limits.corners) this.notify(`A zone has at most ${this.limits.corners} corners.`);
    else corners.push(place);
    this.view.invalidate();
  }

  key(event) {
    const [w, h] = this.view.header.size_wh;
    const step = (event.shiftKey ? 0.1 : 0.02) * w;
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (ways[event.key]) {
      const [x, y] = [this.place[0] + ways[event.key][0], this.place[1] + ways[event.key][1]];
      this.place = [Math.min(Math.max(x, 0), w), Math.min(Math.max(y, 0), h)];
      this.view.draft.cursor = this.place;
      this.view.invalidate();
    } else if (event.key === " ") this.corner([...this.place]);
    else if (event.key === "Enter") this.close();
    else if (event.key === "Backspace") this.view.draft.corners.pop();
    else if (event.key === "Escape") this.end();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.view.invalidate();
  }

  close() {
    const { corners } = this.view.draft;
    if (corners.length < 3) this.notify("A zone needs three corners at least.");
    else this.add(corners);
  }

  async add(polygon) {
    this.end();
    const name = this.name.value.trim() || this.proposal;
    try {
      const polygon_px = polygon.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
      this.changed(await ask("POST", "/api/zones", { name, polygon_px }));
      this.notify(`Zone ${name} counts from now on.`);
      this.name.value = "";
    } catch (error) {
      this.notify(error.message);
    }
  }

  async remove(name) {
    try {
      this.changed(await ask("DELETE", `/api/zones?name=${encodeURIComponent(name)}`));
      this.draw.focus();
    } catch (error) {
      this.notify(error.message);
    }
  }

  // zones: as the server answers to a change.
  changed(zones) {
    this.settled = 0;
    this.show(zones);
    this.settled = performance.now() + SETTLING_MS;
  }

  // zones: as the server tells them.
  show(zones) {
    const names = JSON.stringify(zones.map((zone) => zone.name));
    if (names !== this.known && performance.now() < this.settled) return;
    this.view.zones = zones;
    if (names !== this.known) {
      this.known = names;
      this.renew(zones);
      this.view.invalidate();
    }
    zones.forEach((zone, i) => {
      const now = zone.inside ? ` for ${zone.longest_dwell_s.toFixed(1)} s` : "";
      const mean = zone.mean_dwell_s > 0 ? ` · ${zone.mean_dwell_s.toFixed(1)} s mean stay` : "";
      const text = `${zone.inside} inside${now} · ${zone.entered} entered${mean}`;
      if (this.texts[i].textContent !== text) this.texts[i].textContent = text;
    });
  }

  renew(zones) {
    this.texts = [];
    this.list.replaceChildren(...zones.map((zone) => {
      const item = document.createElement("li");
      const [name, text, button] = ["b", "span", "button"].map((tag) => document.createElement(tag));
      name.textContent = zone.name;
      button.textContent = "Delete";
      button.type = "button";
      button.setAttribute("aria-label", `Delete zone ${zone.name}`);
      button.addEventListener("click", () => this.remove(zone.name));
      this.texts.push(text);
      item.append(name, text, button);
      return item;
    }));
    this.none.hidden = zones.length > 0;
    const taken = new Set(zones.map((zone) => zone.name));
    let number = 1;
    while (taken.has(`Zone ${number}`)) number += 1;
    this.proposal = `Zone ${number}`;
    this.name.placeholder = this.proposal;
  }
}
