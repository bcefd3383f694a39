// A Pod's history as lanes: one for the Pod, one for each container, a bar for each state.

import { clockTime, el, now, span, stamp, tone } from "./format.js";

const labelWidth = 92;
const lane = 26;
const bar = 14;
const axis = 22;
const ranges = [["All", 0], ["1h", 3600e3], ["10m", 600e3], ["1m", 60e3]];
const hint = "Point at a bar to read it.";
const svg = (tag, attributes, ...children) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
};

export class Timeline {
  #range = 0;
  #lanes = [];
  #picked = "";

  constructor() {
    this.buttons = el("div", "ranges");
    this.buttons.setAttribute("role", "group");
    this.buttons.setAttribute("aria-label", "Range of the timeline");
    for (const [label, ms] of ranges) {
      const b = el("button", "", label);
      b.type = "button";
      b.setAttribute("aria-pressed", String(ms === 0));
      b.addEventListener("click", () => this.#select(ms));
      this.buttons.append(b);
    }
    this.chart = el("div", "chart");
    this.note = el("p", "chart-note", hint);
    this.root = el("div", "timeline", this.chart, this.note);
    this.chart.addEventListener("pointerover", (e) => this.#show(e.target));
    this.chart.addEventListener("pointerleave", () => this.#show(null));
    this.chart.addEventListener("focusin", (e) => this.#show(e.target));
    new ResizeObserver(() => this.render()).observe(this.chart);
  }

  #select(ms) {
    this.#range = ms;
    [...this.buttons.children].forEach((b, i) => b.setAttribute("aria-pressed", String(ranges[i][1] === ms)));
    this.render();
  }

  // set takes the Pod's history, the oldest transition first, and when the Pod ended, if it has.
  set(history, gone = 0) {
    this.gone = gone;
    const lanes = new Map();
    for (const h of history) {
      const name = h.actor.split("/").slice(2).join("/") || "Pod";
      if (!lanes.has(name)) lanes.set(name, []);
      const list = lanes.get(name);
      const from = stamp(h.time);
      if (list.length > 0) list.at(-1).to = from;
      list.push({ from, to: 0, state: h.to, why: h.why, tone: tone(h.to, h.why) });
    }
    this.#lanes = [...lanes].sort(([a], [b]) => (a === "Pod" ? -1 : b === "Pod" ? 1 : 0));
    this.render();
  }

  render() {
    const width = this.chart.clientWidth;
    if (!width || this.#lanes.length === 0) {
      this.chart.replaceChildren();
      return;
    }
    const end = this.gone || now();
    const begin = Math.min(...this.#lanes.map(([, list]) => list[0].from));
    const from = this.#range ? end - this.#range : Math.min(begin, end - 1000);
    const x = (t) => labelWidth + ((Math.max(t, from) - from) / (end - from)) * (width - labelWidth - 2);
    const height = this.#lanes.length * lane + axis;
    const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    root.setAttribute("aria-label", `Timeline of ${this.#lanes.length} lanes over ${span(end - from)}; the list below has the same`);
    this.#axis(root, from, end, x, height);
    this.#lanes.forEach(([name, list], i) => this.#lane(root, name, list, i, from, end, x));
    this.chart.replaceChildren(root);
  }

  #axis(root, from, end, x, height) {
    const step = niceStep((end - from) / 5);
    for (let back = 0; back <= end - from; back += step) {
      const px = Math.round(x(end - back)) + 0.5;
      root.append(svg("line", { x1: px, x2: px, y1: 0, y2: height - axis + 3, class: "grid" }));
      const anchor = back === 0 ? "end" : px < labelWidth + 20 ? "start" : "middle";
      root.append(svg("text", { x: px, y: height - 6, "text-anchor": anchor, class: "tick" }, back === 0 ? (this.gone ? "end" : "now") : `−${span(back).replace(/ 0+[a-z]/, "")}`));
    }
  }

  #lane(root, name, list, i, from, end, x) {
    const y = i * lane + (lane - bar) / 2;
    const label = svg("text", { x: 0, y: y + bar - 3, class: "lane" }, name.length > 13 ? `${name.slice(0, 12)}…` : name);
    label.append(svg("title", {}, name));
    root.append(label);
    for (const s of list) {
      const to = s.to || end;
      if (to < from) continue;
      const left = x(s.from);
      const wide = Math.max(2, x(to) - left - 1);
      const r = svg("rect", { x: left, y, width: wide, height: bar, rx: Math.min(3, wide / 2), class: `seg ${s.tone}`, tabindex: -1 });
      r.segment = { ...s, name, to };
      root.append(r);
    }
  }

  #show(target) {
    const s = target?.segment;
    const words = s ? `${s.name}: ${s.state} for ${span(s.to - s.from)} from ${clockTime(s.from)}${s.why ? `, ${s.why}` : ""}` : "";
    if (words === this.#picked) return;
    this.#picked = words;
    this.note.textContent = words || hint;
  }
}

// niceStep rounds up to a number of seconds, minutes or hours that people count in.
function niceStep(ms) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
  return 1000 * (steps.find((s) => s * 1000 >= ms) || 2592000);
}
