// The tree as the page knows it: rows by id, and the list of rows to show for the current filter, order and expansion.

import { now, stamp, tone } from "./format.js";

const worst = ["done", "run", "change", "backoff", "failed"]; // the later one decides about the Pod

export class Store {
  rows = new Map();
  children = new Map(); // parent id -> Set of ids
  closed = new Set(); // Pods whose containers are hidden although expanded is set, or shown although it is not
  expanded = true;
  filter = "";
  only = "all";
  sort = { by: "name", down: false };
  counters = null;
  upTo = 0; // number of the last event that the rows include
  touched = new Set(); // ids of rows that changed since the last frame
  dirty = true; // the list is out of date
  asked = true; // ... because of what the user did: it must be made anew at once

  // apply takes the data of an event "actors".
  apply(delta) {
    if (delta.reset) {
      this.rows.clear();
      this.children.clear();
    }
    for (const id of delta.removed || []) this.#remove(id);
    for (const row of delta.actors || []) this.#put(row);
    this.upTo = delta.upTo;
    if (delta.counters) this.counters = delta.counters;
    this.dirty = true;
  }

  #put(data) {
    const old = this.rows.get(data.id);
    // A row keeps its identity, because the list and the elements in view hold on to it.
    const row = Object.assign(old || {}, data, {
      since: stamp(data.since),
      busy: data.handling ? stamp(data.handling.since) : 0,
      next: stamp(data.nextRestart),
      flash: old && old.state !== data.state ? now() : old?.flash || 0,
    });
    row.text = `${row.name} ${row.id} ${row.state}`.toLowerCase();
    row.label = row.kind === "pod" && row.pod.name ? row.pod.name : row.name || row.id;
    row.order = `${row.pod.namespace}/${row.pod.name}/${row.label}`;
    this.rows.set(row.id, row);
    this.touched.add(row.id).add(row.parent);
    if (!this.children.has(row.parent)) this.children.set(row.parent, new Set());
    this.children.get(row.parent).add(row.id);
  }

  #remove(id) {
    const row = this.rows.get(id);
    if (!row) return;
    this.rows.delete(id);
    this.children.get(row.parent)?.delete(id);
  }

  // transition shows a change of state at once; the next "actors" event has the rest of it, and the last word.
  transition(t, number) {
    const row = this.rows.get(t.actor);
    if (!row || number <= this.upTo) return;
    row.state = t.to;
    row.since = stamp(t.time);
    row.flash = now();
    row.text = `${row.name} ${row.id} ${row.state}`.toLowerCase();
    if (row.state === "Running") row.next = 0;
    this.touched.add(row.id).add(row.parent);
    this.dirty = true;
  }

  modules(id) {
    return [...(this.children.get(id) || [])].map((c) => this.rows.get(c)).filter(Boolean);
  }

  // classOf sorts an actor into one of the tiles.
  classOf(row) {
    if (row.kind === "pod") return this.#podClass(row);
    if (row.next > now() && row.state !== "Running") return "backoff";
    const t = tone(row.state, row.lastFailure?.reason);
    return t === "start" || t === "stop" ? "change" : t;
  }

  #podClass(pod) {
    const own = tone(pod.state);
    if (own === "failed") return "failed";
    if (own === "stop") return "change";
    const classes = this.modules(pod.id).map((m) => this.classOf(m));
    if (own === "done") return classes.includes("failed") ? "failed" : "done";
    if (classes.length === 0) return own === "run" ? "run" : "change";
    return classes.reduce((a, b) => (worst.indexOf(b) > worst.indexOf(a) ? b : a));
  }

  // summary is what the tiles and facts show.
  summary() {
    const n = { all: 0, run: 0, change: 0, backoff: 0, failed: 0, done: 0, modules: 0, restarts: 0, mailbox: 0 };
    for (const row of this.rows.values()) {
      n.mailbox = Math.max(n.mailbox, row.mailbox.length);
      if (row.kind === "pod") {
        n.all++;
        n[this.classOf(row)]++;
      } else if (row.kind === "module") {
        n.restarts += row.restarts;
        if (row.state === "Running") n.modules++;
      }
    }
    return n;
  }

  // isOpen tells whether a Pod's containers are shown.
  isOpen(id) { return this.expanded !== this.closed.has(id); }

  toggle(id) {
    if (!this.closed.delete(id)) this.closed.add(id);
    this.asked = true;
  }

  setExpanded(on) {
    this.expanded = on;
    this.closed.clear();
    this.asked = true;
  }

  // list returns {row, level, children, open} for each row to show, parents before their children.
  list() {
    const test = matcher(this.filter);
    const out = [];
    const roots = [...this.rows.values()].filter((r) => r.kind === "node");
    const pods = [...this.rows.values()].filter((r) => r.kind === "pod");
    const shown = [];
    for (const pod of pods) {
      if (this.only !== "all" && this.classOf(pod) !== this.only) continue;
      const modules = this.modules(pod.id).sort(byName);
      const own = test(pod);
      const hits = own ? modules : modules.filter((m) => test({ ...m, inherited: pod }));
      if (own || hits.length > 0) shown.push({ pod, modules: hits, key: this.#key(pod, modules) });
    }
    const down = this.sort.down ? -1 : 1;
    shown.sort((a, b) => down * compare(a.key, b.key) || byName(a.pod, b.pod));
    for (const root of roots) {
      if (this.filter === "" && this.only === "all") out.push({ row: root, level: 1, children: pods.length, open: true });
    }
    for (const { pod, modules } of shown) {
      const open = this.isOpen(pod.id);
      out.push({ row: pod, level: 2, children: modules.length, open });
      if (open) for (const row of modules) out.push({ row, level: 3, children: 0, open: false });
    }
    return { rows: out, pods: shown.length, of: pods.length };
  }

  // #key is what a Pod is ordered by: the extreme of the Pod and its containers.
  #key(pod, modules) {
    const all = [pod, ...modules];
    switch (this.sort.by) {
      case "state": return worst.indexOf(this.classOf(pod));
      case "since": return -pod.since;
      case "mailbox": return Math.max(...all.map((r) => r.mailbox.length * 1e6 + r.mailbox.highWater));
      case "busy": return Math.max(...all.map((r) => (r.busy ? now() - r.busy : -1)));
      case "restarts": return modules.reduce((n, m) => n + m.restarts, 0);
      case "next": return Math.min(...all.map((r) => (r.next > now() ? r.next : Infinity)));
      case "failure": return -Math.max(...all.map((r) => stamp(r.lastFailure?.time)));
      default: return pod.order;
    }
  }
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const byName = (a, b) => compare(a.order, b.order);

// matcher understands words and ns:, state:, name: before a word; all of them must match.
function matcher(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean).map((w) => {
    const [, field, value] = w.match(/^(ns|namespace|state|name):(.*)$/) || [, "", w];
    return { field, value };
  });
  return (row) => words.every(({ field, value }) => {
    switch (field) {
      case "ns": case "namespace": return row.pod.namespace?.toLowerCase().includes(value);
      case "state": return row.state.toLowerCase().includes(value);
      case "name": return `${row.label} ${row.inherited?.label || ""}`.toLowerCase().includes(value);
      default: return row.text.includes(value) || `${row.pod.namespace}/${row.pod.name}`.toLowerCase().includes(value);
    }
  });
}
