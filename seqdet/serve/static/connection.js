// The WebSocket to the server: it comes back by itself, keeps the server's clock, and says which picture was taken.

const SILENCE_MS = 6000; // the server speaks four times a second
const SLOWEST_RETRY_MS = 4000;

export class Connection {
  // handlers: hello(message), picture(header, jpeg), events(list), status(message), state(isOpen, reason)
  constructor(handlers) {
    this.handlers = handlers;
    this.offsetS = null; // server's clock minus this page's
    this.bestRoundTripS = Infinity;
    this.attempts = 0;
    this.paused = false;
    this.isOpen = false;
    this.lastHeardMs = 0;
    setInterval(() => this.watch(), 1000);
    addEventListener("online", () => this.retryNow());
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.lastHeardMs = performance.now();
    this.wasOpen = false;
    socket.onopen = () => {
      this.wasOpen = true;
      this.bestRoundTripS = Infinity;
      [0, 150, 400, 900].forEach((ms) => setTimeout(() => this.ping(), ms));
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => socket === this.socket && this.closed(event);
  }

  take(data) {
    this.lastHeardMs = performance.now();
    if (data instanceof ArrayBuffer) {
      const length = new DataView(data).getUint32(0, true);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.handlers.picture(header, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "pong") this.pong(message);
    else if (message.type === "events") this.handlers.events(message.events);
    else if (message.type === "status") this.handlers.status(message);
    else if (message.type === "hello") {
      this.isOpen = true;
      this.attempts = 0;
      this.handlers.state(true, "");
      this.handlers.hello(message);
      this.pause(this.paused);
    }
  }

  async closed(event) {
    this.isOpen = false;
    let reason = event.reason;
    if (!this.wasOpen && !reason) reason = await whyNot();
    this.handlers.state(false, reason);
    const wait = event.code === 1013 || reason ? SLOWEST_RETRY_MS : Math.min(250 * 2 ** this.attempts, SLOWEST_RETRY_MS);
    this.attempts += 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait);
  }

  retryNow() {
    if (!this.isOpen && this.socket.readyState === WebSocket.CLOSED) this.open();
  }

  watch() {
    if (this.isOpen && performance.now() - this.lastHeardMs > SILENCE_MS) this.socket.close();
    if (this.isOpen && (this.seconds = (this.seconds || 0) + 1) % 5 === 0) this.ping();
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  seen(number) {
    this.send({ type: "seen", number });
  }

  pause(paused) {
    this.paused = paused;
    this.send({ type: "pause", paused });
  }

  ping() {
    this.send({ type: "ping", at: performance.now() / 1000 });
  }

  // As NTP: half of what the way there and back took is the way back. The quickest exchange is the truest.
  pong({ at, received_s: receivedS, sent_s: sentS }) {
    const nowS = performance.now() / 1000;
    const roundTripS = nowS - at - (sentS - receivedS);
    this.bestRoundTripS *= 1.02; // clocks drift: an old best one must not last for ever
    if (roundTripS > this.bestRoundTripS) return;
    this.bestRoundTripS = Math.max(roundTripS, 1e-5);
    this.offsetS = (receivedS - at + sentS - nowS) / 2;
  }

  // Seconds since a time of the server's clock, or null before that clock is known.
  since(serverS) {
    return this.offsetS === null ? null : performance.now() / 1000 + this.offsetS - serverS;
  }
}

async function whyNot() {
  try {
    const answer = await fetch("/api/status");
    return answer.ok ? "" : (await answer.text()).trim();
  } catch {
    return "";
  }
}

// Ask the server to do something; returns what it answers, throws an Error with its reason.
export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.ok) return answer.json();
  let reason = (await answer.text()).trim();
  try {
    const { detail } = JSON.parse(reason);
    if (typeof detail === "string") reason = detail;
  } catch { /* it was plain text */ }
  throw new Error(reason || `The server refused (${answer.status}).`);
}
