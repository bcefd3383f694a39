// Words and numbers as people read them.

let offset = 0; // server time minus browser time, in ms

// setServerTime keeps countdowns right in a browser whose clock is not.
export function setServerTime(text) { offset = Date.parse(text) - Date.now(); }

export const now = () => Date.now() + offset;

// stamp turns an RFC 3339 time into ms; Go's zero time and nothing become 0.
export function stamp(text) {
  if (!text || text.startsWith("0001-")) return 0;
  return Date.parse(text);
}

// span writes a duration in ms with its two largest units: 45s, 3m 07s, 2h 14m, 5d 3h.
export function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s}s`;
  const m = Math.floor(s / 60);
  if (m < 60) return `${m}m ${String(s % 60).padStart(2, "0")}s`;
  const h = Math.floor(m / 60);
  if (h < 24) return `${h}h ${String(m % 60).padStart(2, "0")}m`;
  return `${Math.floor(h / 24)}d ${h % 24}h`;
}

// rest writes what is left until a time, rounded up so that it ends with 1s and not with 0s.
export const rest = (ms) => span(Math.ceil(ms / 1000) * 1000);

// delay reads a Go duration ("1m40s", "500ms") as ms.
export function delay(text) {
  const unit = { h: 3600e3, m: 60e3, s: 1e3, ms: 1, "µs": 1e-3, ns: 1e-6 };
  let ms = 0;
  for (const [, n, u] of (text || "").matchAll(/([\d.]+)(h|ms|m|s|µs|ns)/g)) ms += Number(n) * unit[u];
  return ms;
}

const two = (n) => String(n).padStart(2, "0");

// clockTime writes the time of day, with a date when it is not today's.
export function clockTime(ms) {
  const d = new Date(ms);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  if (new Date(now()).toDateString() === d.toDateString()) return time;
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${time}`;
}

export const count = (n) => n.toLocaleString("en-US");

// shortType drops what repeats in the type of a message: *podactor.Apply becomes podactor.Apply.
export const shortType = (text) => text.replace(/^\*/, "").replace(/^.*\//, "");

const tones = {
  Running: "run",
  Idle: "start", Created: "start", Admitting: "start", Pulling: "start", Preparing: "start", Starting: "start", Initializing: "start", Syncing: "start",
  BackOff: "backoff", PullBackOff: "backoff",
  Terminating: "stop", Draining: "stop",
  Rejected: "failed", Failed: "failed",
  Exited: "done", Finished: "done", Ended: "done", Stopped: "done",
};

// tone is the color family of a state. Of an actor that has exited, why tells a good ending from a bad one.
export function tone(state, why = "") {
  if (state === "Exited" && why && !why.startsWith("Completed")) return "failed";
  return tones[state] || "start";
}

// el makes an element: el("span", "pill", "text"), el("div", "box", child, child).
export function el(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
  return e;
}
