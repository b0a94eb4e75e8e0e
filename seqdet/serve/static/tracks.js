// The list of tracks, each with its class and score over the last seconds.

const SPAN_S = 20;
const GONE_S = 1.5; // not seen for so long: it is shown as gone
const KEPT_S = 10;
const ROWS = 10;

export class Tracks {
  constructor(list, none, colourOf) {
    Object.assign(this, { list, none, colourOf });
    this.tracks = new Map();
    this.rows = new Map();
    setInterval(() => this.render(), 300);
  }

  // objects: those of a picture that are shown; nowS: when it was captured, on the server's clock.
  take(objects, nowS) {
    this.nowS = nowS;
    for (const { id, label, track_score: score } of objects) {
      if (id < 0) continue;
      const track = this.tracks.get(id) ?? { id, history: [], firstS: nowS };
      track.history.push({ atS: nowS, score, label });
      while (track.history[0].atS < nowS - SPAN_S) track.history.shift();
      Object.assign(track, { label, score, lastS: nowS });
      this.tracks.set(id, track);
    }
  }

  forget() {
    this.tracks.clear();
  }

  render() {
    if (document.hidden) return;
    const nowS = this.nowS ?? 0;
    for (const [id, track] of this.tracks) if (nowS - track.lastS > KEPT_S) this.tracks.delete(id);
    const isGone = (track) => nowS - track.lastS > GONE_S;
    const shown = [...this.tracks.values()]
      .sort((a, b) => isGone(a) - isGone(b) || (isGone(a) ? b.lastS - a.lastS : a.id - b.id))
      .slice(0, ROWS);
    const ids = new Set(shown.map(({ id }) => id));
    for (const [id, row] of this.rows) {
      if (ids.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
    }
    shown.forEach((track, place) => this.renderRow(track, place, isGone(track), nowS));
    this.none.hidden = shown.length > 0;
  }

  renderRow(track, place, gone, nowS) {
    let row = this.rows.get(track.id);
    if (!row) {
      const item = document.createElement("li");
      item.innerHTML = '<i class="swatch"></i><b></b><span></span><canvas width="208" height="52" aria-hidden="true"></canvas>';
      const [swatch, name, score, canvas] = item.children;
      row = { item, swatch, name, score, canvas };
      this.rows.set(track.id, row);
    }
    if (this.list.children[place] !== row.item) this.list.insertBefore(row.item, this.list.children[place] ?? null);
    row.item.classList.toggle("gone", gone);
    row.item.dataset.id = track.id;
    row.swatch.style.background = this.colourOf(track.label);
    const seconds = `${Math.round(track.lastS - track.firstS)} s`;
    const text = `${track.label || "object"} #${track.id} `;
    if (row.text !== text + seconds + gone) {
      row.text = text + seconds + gone;
      row.name.textContent = text;
      const small = document.createElement("small");
      small.textContent = seconds;
      row.name.append(small);
      row.item.title = gone ? "gone" : "";
    }
    row.score.textContent = track.score.toFixed(2);
    this.sparkline(row.canvas, track.history, nowS);
  }

  sparkline(canvas, history, nowS) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    const styles = getComputedStyle(canvas);
    context.clearRect(0, 0, width, height);
    context.fillStyle = styles.getPropertyValue("--track");
    context.fillRect(0, height - 8, width, 8);
    const x = ({ atS }) => width * (1 - (nowS - atS) / SPAN_S);
    const y = ({ score }) => 3 + (height - 16) * (1 - score);
    for (let i = 1; i < history.length; i += 1) {
      const [a, b] = [history[i - 1], history[i]];
      if (b.atS - a.atS > GONE_S) continue;
      context.fillStyle = this.colourOf(b.label);
      context.fillRect(x(a), height - 8, x(b) - x(a) + 1, 8);
    }
    context.strokeStyle = styles.color;
    context.lineWidth = 2.5;
    context.lineJoin = "round";
    context.beginPath();
    history.forEach((moment, i) => {
      const joined = i && moment.atS - history[i - 1].atS <= GONE_S;
      context[joined ? "lineTo" : "moveTo"](x(moment), y(moment));
    });
    context.stroke();
  }
}
