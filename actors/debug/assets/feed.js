// What happens, the newest first: supervision decisions, everything else, and dead letters.

import { clockTime, delay, el, now, rest, shortType, stamp, tone } from "./format.js";

const kept = 300; // entries of one list
const perFrame = 60; // more than that in one frame nobody can read

export class Feed {
  #lists = { decisions: [], activity: [], letters: [] };
  #fresh = { decisions: 0, activity: 0, letters: 0 }; // entries not on the page yet
  #tab = "decisions";
  #held = false; // the pointer is on the list: nothing may move under it

  constructor(openPod) {
    this.openPod = openPod;
    this.root = document.getElementById("feed");
    this.heldButton = document.getElementById("feed-held");
    this.tabs = [...document.querySelectorAll(".tabs [role=tab]")];
    for (const t of this.tabs) t.addEventListener("click", () => this.select(t.id.slice(4)));
    document.querySelector(".tabs").addEventListener("keydown", (e) => this.#key(e));
    this.root.addEventListener("pointerenter", () => { this.#held = this.root.scrollHeight > 0; });
    this.root.addEventListener("pointerleave", () => { this.#held = false; });
    this.heldButton.addEventListener("click", () => { this.#held = false; this.root.scrollTop = 0; this.render(); });
    this.root.addEventListener("click", (e) => {
      const link = e.target.closest("[data-pod]");
      if (link) this.openPod(link.dataset.pod, link.dataset.actor);
    });
  }

  #key(e) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (!step) return;
    const i = this.tabs.findIndex((t) => t.id === `tab-${this.#tab}`);
    const next = this.tabs[(i + step + this.tabs.length) % this.tabs.length];
    this.select(next.id.slice(4));
    next.focus();
  }

  select(name) {
    this.#tab = name;
    for (const t of this.tabs) {
      const on = t.id === `tab-${name}`;
      t.setAttribute("aria-selected", String(on));
      t.tabIndex = on ? 0 : -1;
    }
    this.root.setAttribute("aria-labelledby", `tab-${name}`);
    this.#redraw();
  }

  // fill puts what was there before the page into a list.
  fill(list, items) {
    this.#lists[list] = items.slice(-kept).reverse();
    if (list === this.#tab) this.#redraw();
  }

  add(list, item) {
    const items = this.#lists[list];
    items.unshift(item);
    if (items.length > kept) items.length = kept;
    this.#fresh[list]++;
  }

  get decisions() { return this.#lists.decisions; }

  // render adds what came since the last frame.
  render() {
    const n = this.#fresh[this.#tab];
    this.heldButton.hidden = !(this.#held && n > 0);
    if (n === 0) return;
    if (this.#held && this.root.childElementCount > 0) {
      this.heldButton.textContent = `${n} new, show`;
      return;
    }
    if (n > perFrame) {
      this.#redraw();
      return;
    }
    const items = this.#lists[this.#tab].slice(0, n);
    this.#fresh[this.#tab] = 0;
    this.root.querySelector(".nothing")?.remove();
    this.root.prepend(...items.map((i) => this.#entry(i, true)));
    while (this.root.childElementCount > kept) this.root.lastChild.remove();
  }

  #redraw() {
    this.#fresh[this.#tab] = 0;
    this.heldButton.hidden = true;
    const items = this.#lists[this.#tab].slice(0, kept);
    const nothing = { decisions: "No restarts and no endings so far.", activity: "Nothing has happened yet.", letters: "No dead letters. Every message found its actor." };
    this.root.replaceChildren(...(items.length ? items.map((i) => this.#entry(i)) : [el("p", "nothing", nothing[this.#tab])]));
  }

  // tick updates the countdowns of decisions in view.
  tick() {
    for (const e of this.root.querySelectorAll("[data-until]")) {
      const left = Number(e.dataset.until) - now();
      e.textContent = left > 0 ? `restart in ${rest(left)}` : "restarted";
      if (left <= 0) delete e.dataset.until;
    }
  }

  #entry({ kind, data }, fresh = false) {
    const make = { decision: decisionEntry, transition: transitionEntry, notice: noticeEntry, failure: failureEntry, deadletter: letterEntry };
    const e = make[kind](data);
    e.classList.add("entry");
    if (fresh) e.classList.add("fresh");
    return e;
  }
}

const at = (time) => el("time", "at", clockTime(stamp(time)));

function who(pod, container, actor) {
  if (!pod.name) return el("span", "who", container || actor);
  const link = el("button", "who", el("span", "ns", `${pod.namespace}/`), pod.name, container ? el("span", "of", ` › ${container}`) : "");
  link.type = "button";
  link.dataset.pod = `${pod.namespace}/${pod.name}`;
  link.dataset.actor = actor || "";
  return link;
}

const containerOf = (path) => path.split("/").slice(2).join("/");
const isGood = (reason) => reason === "Completed";

export function decisionEntry(d) {
  const until = stamp(d.time) + delay(d.delay);
  const what = el("span", `what ${d.directive}`);
  if (d.directive === "stop") what.textContent = "no restart";
  else if (until <= now()) what.textContent = delay(d.delay) > 0 ? `restarted after ${d.delay}` : "restarted at once";
  else {
    what.dataset.until = until;
    what.textContent = `restart in ${rest(until - now())}`;
  }
  const code = d.code !== 0 || isGood(d.reason) ? ` ${d.code}` : "";
  return el("article", "", el("div", "line", who(d.pod, d.container, d.child), at(d.time)),
    el("div", "line", el("span", `reason ${isGood(d.reason) ? "" : "bad"}`, `${d.reason}${code}`), what,
      el("span", "times", d.restarts > 0 ? `#${d.restarts}` : "")));
}

function transitionEntry(t) {
  return el("article", "", el("div", "line", who(t.pod, t.kind === "module" ? containerOf(t.actor) : "", t.actor), at(t.time)),
    el("div", "line", t.from ? el("span", "faint", `${t.from} →`) : null, el("span", `word ${tone(t.to, t.why)}`, t.to), el("span", "why", t.why)));
}

function noticeEntry(n) {
  const container = /\{(.+)\}/.exec(n.fieldPath)?.[1] || "";
  return el("article", "", el("div", "line", who(n.pod, container), at(n.time)),
    el("div", "line", el("span", `reason ${n.type === "Warning" ? "bad" : ""}`, n.reason), el("span", "why", n.message)));
}

function failureEntry(f) {
  return el("article", "", el("div", "line", who(f.pod, f.kind === "module" ? containerOf(f.actor) : "", f.actor), at(f.time)),
    el("div", "line", el("span", "reason bad", "Crash"), el("span", "why", `${f.reason} while handling ${shortType(f.message)}`)));
}

function letterEntry(l) {
  return el("article", "", el("div", "line", el("code", "who", shortType(l.message)), at(l.time)),
    el("div", "line", el("span", "why", `to ${l.target}${l.sender ? ` from ${l.sender}` : ""}`)));
}
