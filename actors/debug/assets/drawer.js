// The details of one Pod, or of the node actor, beside the tree.

import { clockTime, count, el, now, rest, shortType, span, stamp, tone } from "./format.js";
import { decisionEntry } from "./feed.js";
import { Timeline } from "./timeline.js";
import { pill, pillTone } from "./table.js";

const historyShown = 60;

export class Drawer {
  #pod = ""; // namespace/name
  #actor = ""; // id of the actor that was asked for
  #report = null;
  #history = [];
  #back = null; // where the focus was

  constructor(store, feed) {
    this.store = store;
    this.feed = feed;
    this.root = document.getElementById("drawer");
    this.root.tabIndex = -1;
    addEventListener("keydown", (e) => { if (e.key === "Escape" && !this.root.hidden) this.close(); });
    addEventListener("hashchange", () => this.#fromHash());
    this.#fromHash();
  }

  #fromHash() {
    const pod = decodeURIComponent(location.hash.match(/^#pod=(.+)$/)?.[1] || "");
    if (pod && pod !== this.#pod) this.openPod(pod);
  }

  openRow(row) {
    if (row.pod.name) this.openPod(`${row.pod.namespace}/${row.pod.name}`, row.id);
    else this.#openActor(row);
  }

  openPod(pod, actor = "") {
    if (this.root.hidden) this.#back = document.activeElement;
    this.#pod = pod;
    this.#actor = actor;
    this.#report = null;
    this.#history = [];
    history.replaceState(null, "", `#pod=${encodeURIComponent(pod)}`);
    this.#frame(pod);
    this.root.hidden = false;
    this.root.focus({ preventScroll: true });
    this.#load();
  }

  #openActor(row) {
    if (this.root.hidden) this.#back = document.activeElement;
    this.#pod = "";
    this.#actor = row.id;
    this.#frame(row.id);
    this.root.hidden = false;
    this.root.focus({ preventScroll: true });
    this.update();
  }

  close() {
    this.root.hidden = true;
    this.#pod = "";
    this.#actor = "";
    history.replaceState(null, "", location.pathname);
    this.#back?.focus?.({ preventScroll: true });
  }

  async #load() {
    const pod = this.#pod;
    try {
      const answer = await fetch(`/debug/pods/${pod.split("/").map(encodeURIComponent).join("/")}`, { headers: { Accept: "application/json" } });
      const body = await answer.json();
      if (pod !== this.#pod) return;
      if (!answer.ok) {
        this.parts.facts.textContent = body.error;
        return;
      }
      const known = new Set(body.history.map(identity));
      this.#report = body;
      this.#history = [...body.history, ...this.#history.filter((h) => !known.has(identity(h)))];
      this.#showHistory();
      this.update();
    } catch (err) {
      if (pod === this.#pod) this.parts.facts.textContent = `The node does not answer: ${err.message}`;
    }
  }

  // transition appends to the history that is shown.
  transition(t) {
    if (this.root.hidden || !this.#pod || `${t.pod.namespace}/${t.pod.name}` !== this.#pod) return;
    if (this.#history.some((h) => identity(h) === identity(t))) return;
    this.#history.push(t);
    this.dirty = true;
  }

  #frame(title) {
    const [ns, name] = title.includes("/") && this.#pod ? title.split("/") : ["", title];
    const close = el("button", "icon-button", "✕");
    close.type = "button";
    close.setAttribute("aria-label", "Close details");
    close.addEventListener("click", () => this.close());
    const h = el("h2", "", ns ? el("span", "ns", `${ns}/`) : "", name);
    h.id = "drawer-title";
    this.parts = { state: el("span", "drawer-state"), facts: el("p", "drawer-facts"), containers: el("div", "containers"),
      failures: el("div", "failures"), decisions: el("div", "feed-like"), history: el("ol", "history") };
    this.timeline = new Timeline();
    const section = (label, ...children) => el("section", "block", el("div", "block-head", el("h3", "", label), ...children.slice(1)), children[0]);
    this.blocks = this.#pod
      ? [this.parts.containers, section("Timeline", this.timeline.root, this.timeline.buttons), this.parts.failures,
        section("Supervision", this.parts.decisions), section("Transitions", this.parts.history)]
      : [this.parts.containers, this.parts.failures];
    this.root.replaceChildren(el("header", "drawer-head", el("div", "drawer-title", h, this.parts.state), close), el("div", "drawer-body", this.parts.facts, ...this.blocks));
  }

  // update redraws what lives: states, countdowns, the right edge of the timeline.
  update() {
    if (this.root.hidden) return;
    if (this.dirty) {
      this.dirty = false;
      this.#showHistory();
    }
    const rows = [...this.store.rows.values()].filter((r) => (this.#pod ? `${r.pod.namespace}/${r.pod.name}` === this.#pod : r.id === this.#actor));
    const pod = rows.find((r) => r.kind === "pod") || rows[0];
    if (pod) this.parts.state.replaceChildren(pill(pod.state, pillTone(pod, this.store.classOf(pod))));
    else this.parts.state.replaceChildren(pill("gone", "done"));
    this.#showFacts(pod);
    this.#showActors(rows);
    this.#showFailures(rows);
    this.#showDecisions();
    this.timeline.render();
  }

  #showFacts(pod) {
    const r = this.#report;
    const facts = [];
    if (r?.status?.phase) facts.push(["Phase", r.status.phase]);
    if (r?.status?.podIP) facts.push(["IP", r.status.podIP]);
    if (r?.spec) facts.push(["Restart policy", r.spec.restartPolicy || "Always"]);
    if (pod?.since) facts.push([pod.state, `for ${span(now() - pod.since)}`]);
    if (r?.gone) facts.push(["Ended", clockTime(stamp(r.gone))]);
    if (r?.spec?.volumes.length) facts.push(["Volumes", r.spec.volumes.join(", ")]);
    if (r?.uid) facts.push(["UID", r.uid]);
    if (facts.length) this.parts.facts.replaceChildren(...facts.map(([k, v]) => el("span", "fact", el("i", "", k), v)));
  }

  #showActors(rows) {
    const spec = new Map((this.#report?.spec?.containers || []).map((c) => [c.name, c]));
    const cards = rows.filter((r) => r.kind === "module" || !this.#pod).sort((a, b) => order(spec, a) - order(spec, b)).map((r) => {
      const c = spec.get(r.label);
      const left = r.next - now();
      const bits = [`${count(r.restarts)} ${r.restarts === 1 ? "restart" : "restarts"}`, `mailbox ${r.mailbox.length} / ${r.mailbox.highWater}`];
      if (r.busy) bits.push(`handling ${shortType(r.handling.message)} for ${span(now() - r.busy)}`);
      const card = el("div", "card", el("div", "card-head", el("b", "", r.label), c && c.type !== "main" ? el("span", "tag", c.type) : "",
        pill(r.state, pillTone(r, this.store.classOf(r))), el("span", "grow"),
        left > 0 && r.state !== "Running" ? el("span", "count", `restart in ${rest(left)}`) : el("span", "faint", r.since ? span(now() - r.since) : "")));
      if (c) card.append(el("code", "image", c.image));
      card.append(el("div", "card-bits", bits.join(" · ")));
      if (r.id === this.#actor && this.#pod) card.classList.add("asked");
      return card;
    });
    replaceIfChanged(this.parts.containers, cards);
  }

  #showFailures(rows) {
    const failed = rows.filter((r) => r.lastFailure && r.lastFailure.reason !== "Completed");
    const open = new Set([...this.parts.failures.querySelectorAll("details[open]")].map((d) => d.dataset.id));
    const list = failed.map((r) => {
      const f = r.lastFailure;
      const box = el("div", "failure", el("div", "line", el("b", "", r.label), el("span", "reason bad", f.reason), el("time", "at", clockTime(stamp(f.time)))));
      if (f.message) box.append(el("p", "", f.message));
      if (f.stack) {
        const d = el("details", "", el("summary", "", "Stack"), el("pre", "", f.stack));
        d.dataset.id = r.id;
        d.open = open.has(r.id);
        box.append(d);
      }
      return box;
    });
    replaceIfChanged(this.parts.failures, list.length ? [el("h3", "", list.length === 1 ? "Last failure" : "Last failures"), ...list] : []);
  }

  #showDecisions() {
    if (!this.#pod) return;
    const mine = this.feed.decisions.filter(({ data: d }) => `${d.pod.namespace}/${d.pod.name}` === this.#pod).slice(0, 8);
    const entries = mine.map(({ data }) => { const e = decisionEntry(data); e.classList.add("entry"); return e; });
    replaceIfChanged(this.parts.decisions, entries.length ? entries : [el("p", "nothing", "No decision so far.")]);
  }

  #showHistory() {
    this.#history.sort((a, b) => stamp(a.time) - stamp(b.time));
    this.timeline.set(this.#history, stamp(this.#report?.gone));
    const items = this.#history.slice(-historyShown).reverse().map((h) => {
      const of = h.actor.split("/").slice(2).join("/") || "Pod";
      return el("li", "", el("time", "at", clockTime(stamp(h.time))), el("span", "of", of),
        el("span", "arrow", h.from ? el("span", "faint", `${h.from} → `) : "", el("span", `word ${tone(h.to, h.why)}`, h.to)), el("span", "why", h.why));
    });
    this.parts.history.replaceChildren(...(items.length ? items : [el("li", "nothing", "No transition is remembered.")]));
  }
}

const identity = (h) => `${h.time}|${h.actor}|${h.to}`;
const order = (spec, row) => [...spec.keys()].indexOf(row.label);

// replaceIfChanged keeps the selection of text and the open parts while nothing has changed.
function replaceIfChanged(parent, children) {
  const next = el("div", "", ...children);
  if (parent.innerHTML !== next.innerHTML) parent.replaceChildren(...next.childNodes);
}
