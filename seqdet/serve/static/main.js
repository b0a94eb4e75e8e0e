// The page: what comes from the server goes to the canvas and the lists, what people do goes to the server.

import { Connection } from "./connection.js";
import { Recordings } from "./recording.js";
import { Tracks } from "./tracks.js";
import { View } from "./view.js";
import { Zones } from "./zones.js";

const el = (id) => document.getElementById(id);
const EVENTS_SHOWN = 200;
const STATES = { connecting: "Connecting", live: "Live", stale: "Stale", lost: "Lost", ended: "Ended", refused: "Refused", offline: "Offline" };

const page = { session: "", classes: [], colours: new Map(), unknown: "#c8c8c8", hidden: new Set(), score: 0.3, scoreChosen: false, paused: false, status: null, offline: "", lastPictureMs: null };
const colourOf = (label) => page.colours.get(label) ?? page.unknown;
const isShown = (found) => found.score >= page.score && !page.hidden.has(found.label);

const view = Object.assign(new View(el("view"), el("picture"), el("sequence")), { colourOf, isShown, onDrawn: drawn });
const tracks = new Tracks(el("tracks"), el("no-tracks"), colourOf);
const zones = new Zones({ list: el("zones"), none: el("no-zones"), draw: el("draw"), name: el("zone-name"), form: el("zone-form"), hint: el("drawing-help") }, view, notify);
const recordings = new Recordings(
  { button: el("record"), list: el("recordings"), panel: el("recordings-panel") },
  () => ({ score: page.score, hidden: [...page.hidden] }),
  notify,
);
const connection = new Connection({ hello, picture, events, status, state });

// ---- from the server

function hello(message) {
  el("source").textContent = message.source;
  document.title = `${message.source} · seqdet live`;
  zones.limits = message.limits;
  if (!page.scoreChosen) setScore(message.score);
  if (page.session === message.session) return;
  page.session = message.session; // another server than before: its numbers begin anew
  page.status = null;
  view.forget();
  tracks.forget();
  el("events").replaceChildren();
  page.unknown = css(message.unknown_rgb);
  page.colours = new Map(message.classes.map(({ name, rgb }) => [name, css(rgb)]));
  el("classes").replaceChildren(el("classes").firstElementChild, ...message.classes.map(classFilter));
}

async function picture(header, jpeg) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(jpeg);
  } catch {
    return; // a damaged picture; the next one comes
  } finally {
    connection.seen(header.number);
  }
  if (page.paused) return bitmap.close();
  page.lastPictureMs = performance.now();
  el("waiting").hidden = true;
  view.show(bitmap, header);
  zones.show(header.zones);
  tracks.take(header.objects.filter(isShown), header.captured_at_s);
  el("sequence").hidden = !header.label;
  if (header.label) {
    el("sequence").textContent = `${header.label} ${header.label_score.toFixed(2)}`;
    el("sequence").style.borderLeftColor = colourOf(header.label);
  }
  return undefined;
}

const drawnMs = [];
const latenciesMs = [];
const detectingMs = [];

function drawn(header) {
  const nowMs = performance.now();
  drawnMs.push(nowMs);
  while (drawnMs[0] < nowMs - 2000) drawnMs.shift();
  const latencyS = connection.since(header.captured_at_s);
  if (latencyS === null) return;
  latenciesMs.push(latencyS * 1000);
  detectingMs.push((header.finished_at_s - header.captured_at_s) * 1000);
  for (const list of [latenciesMs, detectingMs]) if (list.length > 40) list.shift();
}

function status(message) {
  page.status = message;
  recordings.show(message.recording);
  if (page.paused || message.state !== "live") zones.show(message.zones);
  const badge = el("badge");
  const recording = message.recording?.state === "recording";
  badge.hidden = !(recording || page.paused);
  badge.classList.toggle("rec", recording);
  badge.textContent = [recording && "REC", page.paused && "Paused"].filter(Boolean).join(" · ");
  showState();
}

function state(isOpen, reason) {
  page.offline = isOpen ? "" : reason || "No connection to seqdet; trying again.";
  if (!isOpen) latenciesMs.length = 0;
  showState();
}

function showState() {
  const now = page.offline ? "offline" : page.status?.state ?? "connecting";
  const name = STATES[now] ?? now;
  set(el("state"), name);
  el("state").dataset.state = now;
  const banner = el("banner");
  const text = page.offline || page.status?.message || { stale: "No new picture.", lost: "The stream is lost.", ended: "The source has ended.", refused: "The source refuses." }[now] || "";
  banner.hidden = !text;
  banner.dataset.state = now;
  set(el("banner-text"), /[^.!?]$/.test(text) ? `${text}.` : text);
  set(el("banner-age"), text && now !== "ended" && ageS() !== null ? `The picture is ${ageText(ageS())} old.` : "");
  el("picture").classList.toggle("old", ["stale", "lost", "refused", "offline"].includes(now) && view.header !== null);
}

// Seconds since the picture on show was captured.
function ageS() {
  if (page.lastPictureMs === null) return null;
  const sinceShownS = (performance.now() - page.lastPictureMs) / 1000;
  return page.offline ? sinceShownS : Math.max(page.status?.age_s ?? 0, 0);
}

function ageText(seconds) {
  if (seconds < 90) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function events(list) {
  const items = list.map((event) => {
    const item = document.createElement("li");
    item.className = event.kind;
    const time = document.createElement("time");
    const at = new Date(event.wall_time_s * 1000);
    time.dateTime = at.toISOString();
    time.textContent = at.toTimeString().slice(0, 8);
    const text = document.createElement("p");
    text.textContent = event.text;
    item.append(time, text);
    return item;
  });
  el("events").prepend(...items.reverse());
  while (el("events").children.length > EVENTS_SHOWN) el("events").lastElementChild.remove();
  el("no-events").hidden = true;
}

setInterval(() => {
  if (document.hidden) return;
  const [{ status: now }, middle] = [page, median(latenciesMs)];
  const moving = !page.paused && !page.offline && now?.state === "live";
  set(el("latency"), moving && middle !== null ? `${Math.round(middle)} ms` : "–");
  el("latency").title = `of it ${Math.round(median(detectingMs) ?? 0)} ms until it was detected in`;
  const nowMs = performance.now();
  set(el("shown"), moving ? `${(drawnMs.filter((ms) => ms > nowMs - 2000).length / 2).toFixed(1)}/s` : "–");
  set(el("detected"), now ? `${now.result_fps.toFixed(1)}/s` : "–");
  set(el("camera"), now ? `${now.source_fps.toFixed(1)}/s` : "–");
  set(el("dropped"), now ? String(now.dropped) : "–");
  set(el("viewers"), now ? String(now.viewers) : "–");
  if (page.offline) showState();
}, 500);

setInterval(() => {
  if (!view.header || document.hidden) return;
  const names = view.header.objects.filter(isShown).map(({ label, id }) => `${label || "object"}${id >= 0 ? ` ${id}` : ""}`);
  el("view").setAttribute("aria-label", `The video: ${names.length ? names.join(", ") : "nothing is found"}`);
}, 2000);

// ---- from people

function classFilter({ name, rgb }) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !page.hidden.has(name) });
  const swatch = Object.assign(document.createElement("i"), { className: "swatch" });
  swatch.style.background = css(rgb);
  box.addEventListener("change", () => {
    page.hidden[box.checked ? "delete" : "add"](name);
    view.invalidate();
  });
  label.append(box, swatch, name);
  return label;
}

function setScore(score) {
  page.score = Math.min(Math.max(score, 0.05), 0.95);
  el("score").value = page.score;
  set(el("score-value"), page.score.toFixed(2));
  view.invalidate();
}

function chooseScore(score) {
  page.scoreChosen = true;
  setScore(Number(score));
}

function pause() {
  page.paused = !page.paused;
  connection.pause(page.paused || document.hidden);
  el("pause").setAttribute("aria-pressed", String(page.paused));
  set(el("pause").lastElementChild, page.paused ? "Go on" : "Pause");
  if (page.status) status(page.status);
}

async function snapshot() {
  if (!view.header) return notify("No picture has come yet.");
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await view.still()) });
  const now = new Date();
  const day = [now.getFullYear(), now.getMonth() + 1, now.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  link.download = `seqdet-${day}-${now.toTimeString().slice(0, 8).replaceAll(":", "")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return notify(`${link.download} is saved.`);
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else el("picture").requestFullscreen?.().catch(() => notify("This browser does not allow full screen here."));
}

let noticeTimer;
function notify(text) {
  el("notice").textContent = text;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { el("notice").textContent = ""; }, 6000);
}

el("score").addEventListener("input", (event) => chooseScore(event.target.value));
el("pause").addEventListener("click", pause);
el("snapshot").addEventListener("click", snapshot);
el("full").addEventListener("click", fullScreen);
el("full").hidden = !document.fullscreenEnabled; // telephones
el("help-button").addEventListener("click", () => el("help").showModal());
try {
  el("keys-on").checked = localStorage.getItem("keys") !== "off";
  el("keys-on").addEventListener("change", (event) => localStorage.setItem("keys", event.target.checked ? "on" : "off"));
} catch { /* storage is closed to this page: the choice lasts until it is left */ }

const KEYS = {
  " ": pause, k: pause, s: snapshot, r: () => el("record").click(), z: () => zones.toggle(), f: fullScreen,
  t: () => { view.showTrails = !view.showTrails; view.invalidate(); },
  "[": () => chooseScore(page.score - 0.05), "]": () => chooseScore(page.score + 0.05),
  "?": () => el("help").showModal(),
};

addEventListener("keydown", (event) => {
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const typing = event.target.closest?.("input[type=text], input[type=number], dialog");
  const pressing = event.key === " " && event.target.closest?.("button, a, input, summary");
  if (!act || typing || pressing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (!el("keys-on").checked && event.key !== "?") return;
  event.preventDefault();
  act();
});

document.addEventListener("visibilitychange", () => {
  connection.pause(page.paused || document.hidden);
  connection.retryNow();
});

// ---- small helpers

function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function median(values) {
  if (!values.length) return null;
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
