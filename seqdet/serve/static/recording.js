// The record button and the list of recordings, both led by what the server says.

import { ask } from "./connection.js";

export class Recordings {
  constructor(elements, wanted, notify) {
    Object.assign(this, elements, { wanted, notify });
    this.known = "";
    this.button.addEventListener("click", () => this.toggle());
  }

  async toggle() {
    this.button.disabled = true;
    try {
      if (this.running) await ask("POST", "/api/record/stop");
      else await ask("POST", "/api/record/start", this.wanted());
    } catch (error) {
      this.notify(error.message);
    }
    this.button.disabled = false;
  }

  // recording: the newest one, or null.
  show(recording) {
    this.running = recording?.state === "recording";
    this.button.setAttribute("aria-pressed", String(this.running));
    const text = this.running ? `Stop ${clock(recording.seconds)}` : "Record";
    const label = this.button.lastElementChild;
    if (label.textContent !== text) label.textContent = text;
    const key = recording ? `${recording.id} ${recording.state}` : "";
    if (key === this.known) return;
    const before = this.known;
    this.known = key;
    if (recording?.state === "failed" && before) this.notify(`The recording failed: ${recording.message}`);
    if (recording?.state === "done" && before) this.notify(`${recording.name} is saved${recording.message ? `: ${recording.message}` : ""}.`);
    this.renew();
  }

  async renew() {
    const all = await ask("GET", "/api/recordings").catch(() => []);
    this.panel.hidden = all.length === 0;
    this.list.replaceChildren(...all.reverse().map((recording) => {
      const item = document.createElement("li");
      const name = document.createElement(recording.state === "done" ? "a" : "b");
      name.textContent = recording.name;
      if (recording.state === "done") Object.assign(name, { href: `/api/recordings/${recording.id}`, download: recording.name });
      const note = document.createElement("small");
      const facts = recording.state === "done" ? `${recording.frames} frames, ${recording.seconds.toFixed(1)} s` : recording.state;
      note.textContent = [facts, recording.skipped && `${recording.skipped} skipped`, recording.message].filter(Boolean).join(" · ");
      item.append(name, note);
      return item;
    }));
  }
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}
