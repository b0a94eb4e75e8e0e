// The canvas: the picture, boxes, trails, labels and zones, all drawn here so that the slider and the filter act at once.

const TRAIL = 30;
const ZONE = "#ffd84d";

export class View {
  constructor(canvas, holder, chip) {
    this.canvas = canvas;
    this.chip = chip;
    this.holder = holder;
    this.context = canvas.getContext("2d", { alpha: false });
    this.bitmap = null;
    this.header = null;
    this.trails = new Map();
    this.showTrails = true;
    this.isShown = () => true; // (object) -> bool
    this.colourOf = () => "#c8c8c8"; // (label) -> CSS colour
    this.draft = null; // {corners: [[x, y]], cursor: [x, y] | null} in pixels of the source
    this.onDrawn = () => {};
    this.zones = [];
    new ResizeObserver(() => this.invalidate()).observe(canvas);
  }

  show(bitmap, header) {
    this.bitmap?.close();
    if (!this.header || this.header.size_wh.join() !== header.size_wh.join()) this.fit(header.size_wh);
    this.bitmap = bitmap;
    this.header = header;
    this.zones = header.zones;
    this.fresh = true;
    for (const found of header.objects) if (found.id >= 0) this.extend(found, header.number);
    for (const [id, trail] of this.trails) if (header.number - trail.last > 2 * TRAIL) this.trails.delete(id);
    this.invalidate();
  }

  forget() {
    this.trails.clear();
    this.invalidate();
  }

  fit([width, height]) {
    this.holder.style.aspectRatio = `${width} / ${height}`;
    this.holder.style.maxWidth = `calc((100vh - 210px) * ${width / height})`;
  }

  extend({ id, box }, number) {
    const trail = this.trails.get(id) ?? { places: [], last: number };
    if (number - trail.last > TRAIL) trail.places = [];
    trail.places.push([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]);
    if (trail.places.length > TRAIL) trail.places.shift();
    trail.last = number;
    this.trails.set(id, trail);
  }

  invalidate() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.resize();
      this.paint(this.context, this.canvas.width, this.canvas.height, Math.min(devicePixelRatio, 2));
      if (this.fresh) {
        this.fresh = false;
        this.onDrawn(this.header);
      }
    });
  }

  resize() {
    const ratio = Math.min(devicePixelRatio, 2);
    const width = Math.max(Math.round(this.canvas.clientWidth * ratio), 1);
    const height = Math.max(Math.round(this.canvas.clientHeight * ratio), 1);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
  }

  // Where the picture lies in a canvas: it keeps its shape (the canvas has another one in full screen).
  place(width, height) {
    const [w, h] = this.header.size_wh;
    const scale = Math.min(width / w, height / h);
    return { scale, left: (width - w * scale) / 2, top: (height - h * scale) / 2 };
  }

  // From a pointer event to pixels of the source.
  toSource(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const { scale, left, top } = this.place(bounds.width, bounds.height);
    const [w, h] = this.header.size_wh;
    const clamp = (value, most) => Math.min(Math.max(value, 0), most);
    return [clamp((event.clientX - bounds.left - left) / scale, w), clamp((event.clientY - bounds.top - top) / scale, h)];
  }

  paint(context, width, height, ratio) {
    context.fillStyle = "#05070a";
    context.fillRect(0, 0, width, height);
    if (!this.header) return;
    const { scale, left, top } = this.place(width, height);
    const [w, h] = this.header.size_wh;
    context.drawImage(this.bitmap, left, top, w * scale, h * scale);
    const at = ([x, y]) => [left + x * scale, top + y * scale];
    const line = Math.max(ratio * 1.6, width / 800);
    const letters = Math.max(12 * ratio, width / 75);
    const kept = this.zones.map((zone) => this.paintZone(context, zone, at, line, letters));
    const shown = this.header.objects.filter(this.isShown);
    if (this.showTrails) for (const found of shown) this.paintTrail(context, found, at, line);
    const boxes = shown.map(({ box }) => [...at([box[0], box[1]]), ...at([box[2], box[3]])]);
    // What lies in a box stays as it was: the object may be smaller than the line that leads to it.
    const [sx, sy] = [this.bitmap.width / w, this.bitmap.height / h];
    shown.forEach(({ box: [x1, y1, x2, y2] }, i) => {
      const [left, top, right, bottom] = boxes[i];
      context.drawImage(this.bitmap, x1 * sx, y1 * sy, (x2 - x1) * sx, (y2 - y1) * sy, left, top, right - left, bottom - top);
    });
    context.lineWidth = line;
    boxes.forEach(([x1, y1, x2, y2], i) => {
      context.strokeStyle = this.colourOf(shown[i].label);
      context.strokeRect(x1 - line, y1 - line, x2 - x1 + 2 * line, y2 - y1 + 2 * line);
    });
    const frame = [left, top, left + w * scale, top + h * scale];
    if (context === this.context) kept.push(this.chipPlace(boxes, height, ratio));
    this.paintLabels(context, shown, boxes, letters, frame, kept);
    if (this.draft) this.paintDraft(context, at, line);
  }

  // The class of the sequence goes down where it would hide a box; labels keep out of its place.
  chipPlace(boxes, height, ratio) {
    const right = (this.chip.offsetWidth + 16) * ratio;
    const high = (this.chip.offsetHeight + 16) * ratio;
    const places = [[0, 0, right, high], [0, height - high, right, height]];
    const [above, below] = places.map((place) => boxes.reduce((sum, box) => sum + overlap(place, box), 0));
    const isLow = above > below;
    this.chip.classList.toggle("low", isLow);
    return places[Number(isLow)];
  }

  paintTrail(context, { id, label }, at, line) {
    const places = this.trails.get(id)?.places ?? [];
    context.strokeStyle = this.colourOf(label);
    context.lineWidth = line;
    for (let i = 1; i < places.length; i += 1) {
      context.globalAlpha = (0.75 * i) / places.length;
      context.beginPath();
      context.moveTo(...at(places[i - 1]));
      context.lineTo(...at(places[i]));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  // Each label takes the first place around its box that covers least of boxes and of labels placed before.
  paintLabels(context, shown, boxes, letters, [left, top, right, bottom], kept) {
    context.font = `600 ${letters}px system-ui, "DejaVu Sans", sans-serif`;
    context.textBaseline = "middle";
    const height = letters * 1.4;
    const pad = letters * 0.35;
    const taken = [...boxes, ...kept];
    shown.forEach((found, i) => {
      const name = found.label || "object";
      const text = `${name}${found.id >= 0 ? ` #${found.id}` : ""} ${found.score.toFixed(2)}`;
      const width = context.measureText(text).width + 2 * pad;
      const [x1, y1, x2, y2] = boxes[i];
      const gap = letters * 0.4;
      const corners = [[x1 - gap / 2, y1 - height - gap], [x1 - gap / 2, y2 + gap], [x2 + gap, (y1 + y2 - height) / 2], [x1 - width - gap, (y1 + y2 - height) / 2]];
      const places = corners.map(([x, y]) => {
        const px = Math.max(Math.min(x, right - width), left);
        const py = Math.max(Math.min(y, bottom - height), top);
        return [px, py, px + width, py + height];
      });
      const costs = places.map((place) => taken.reduce((sum, other) => sum + overlap(place, other), 0));
      const best = places[costs.indexOf(Math.min(...costs))];
      taken.push(best);
      context.fillStyle = this.colourOf(found.label);
      context.fillRect(best[0], best[1], width, height);
      context.fillStyle = "#000";
      context.fillText(text, best[0] + pad, best[1] + height / 2);
    });
  }

  // Returns where its label is, which other labels keep out of.
  paintZone(context, zone, at, line, letters) {
    const corners = zone.polygon_px.map(at);
    trace(context, corners, true);
    context.fillStyle = zone.inside ? "rgb(255 216 77 / .13)" : "rgb(255 216 77 / .05)";
    context.fill();
    outline(context, line);
    const [x, y] = corners.reduce((a, b) => (b[1] < a[1] ? b : a));
    const text = `${zone.name}: ${zone.inside}`;
    context.font = `600 ${letters}px system-ui, "DejaVu Sans", sans-serif`;
    context.textBaseline = "middle";
    const width = context.measureText(text).width + letters * 0.7;
    const left = Math.max(Math.min(x, context.canvas.width - width - 2), 2);
    context.fillStyle = "rgb(5 7 10 / .8)";
    context.fillRect(left, y + line, width, letters * 1.4);
    context.fillStyle = ZONE;
    context.fillText(text, left + letters * 0.35, y + line + letters * 0.7);
    return [left, y + line, left + width, y + line + letters * 1.4];
  }

  paintDraft(context, at, line) {
    const { corners, cursor } = this.draft;
    const path = (cursor ? [...corners, cursor] : corners).map(at);
    if (path.length > 1) {
      trace(context, path, false);
      outline(context, line);
    }
    for (const [x, y] of path) {
      context.beginPath();
      context.arc(x, y, line * 2.6, 0, 7);
      context.fillStyle = ZONE;
      context.fill();
      context.lineWidth = line / 2;
      context.strokeStyle = "#000";
      context.stroke();
    }
  }

  // What is seen now, as a PNG file of at least the source's size.
  async still() {
    const [w, h] = this.header.size_wh;
    const scale = Math.max(1, 960 / w);
    const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(w * scale), height: Math.round(h * scale) });
    this.paint(canvas.getContext("2d"), canvas.width, canvas.height, 1);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

function trace(context, corners, closed) {
  context.beginPath();
  corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (closed) context.closePath();
}

// Yellow on black: one of the two stands out from any picture.
function outline(context, line) {
  context.lineJoin = "round";
  context.strokeStyle = "rgb(0 0 0 / .7)";
  context.lineWidth = line * 2.4;
  context.stroke();
  context.strokeStyle = ZONE;
  context.lineWidth = line;
  context.stroke();
}

function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  return width > 0 && height > 0 ? width * height : 0;
}
