// Puts the parts together. All drawing happens in one callback for each animation frame, however many events came.

import { count, now, setServerTime } from "./format.js";
import { Drawer } from "./drawer.js";
import { Feed } from "./feed.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { Table } from "./table.js";

const $ = (id) => document.getElementById(id);
const store = new Store();
let drawer = null;
const feed = new Feed((pod, actor) => drawer.openPod(pod, actor));
drawer = new Drawer(store, feed);
const table = new Table(store, (row) => drawer.openRow(row));

let letters = 0;
let scheduled = false;
let ticked = 0;
let listDue = 0;
const listEvery = 200; // ms

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

function draw() {
  scheduled = false;
  const second = Math.floor(now() / 1000);
  const tick = second !== ticked;
  ticked = second;
  if (store.asked || ((store.dirty || (tick && store.sort.by !== "name")) && performance.now() >= listDue)) makeList();
  else if (store.dirty) setTimeout(schedule, listEvery);
  table.render(tick);
  store.touched.clear();
  feed.render();
  if (tick) feed.tick();
  if (tick || drawer.dirty) drawer.update();
}

// makeList filters and orders everything, which a storm of events must not ask for in each frame. The rows in view show
// their new states without it.
function makeList() {
  store.dirty = false;
  store.asked = false;
  const begun = performance.now();
  const list = store.list();
  table.setList(list);
  showShown(list);
  showSummary();
  listDue = performance.now() + Math.max(listEvery, 5 * (performance.now() - begun));
}

function showShown(list) {
  const all = store.filter === "" && store.only === "all";
  $("shown").textContent = all ? "" : `${count(list.pods)} of ${count(list.of)} Pods`;
}

function showSummary() {
  const n = store.summary();
  for (const name of ["all", "run", "change", "backoff", "failed", "done"]) setText($(`n-${name}`), count(n[name]));
  setText($("f-modules"), count(n.modules));
  setText($("f-restarts"), count(n.restarts));
  setText($("f-mailbox"), count(n.mailbox));
  setText($("f-letters"), count(letters));
  const hazards = Object.entries(store.counters || {}).filter(([, v]) => v > 0);
  $("guard").hidden = hazards.length === 0;
  setText($("guard"), hazards.map(([k, v]) => `${k} ${v}`).join(" · "));
  $("guard").title = "The guard around actors caught something that a correct node never does";
}

function setText(e, text) { if (e.textContent !== text) e.textContent = text; }

// What an event of each kind does. "gap" and "dropped" need nothing: the rows come from the registry, and the lists are
// only a memory.
const on = {
  actors(delta) { setServerTime(delta.time); store.apply(delta); },
  transition(t, number) { store.transition(t, number); drawer.transition(t); feed.add("activity", { kind: "transition", data: t }); },
  decision(d) { addDecision(d); },
  failure(f) { feed.add("activity", { kind: "failure", data: f }); },
  notice(n) { feed.add("activity", { kind: "notice", data: n }); },
  deadletter(l) { addLetter(l); },
};

// The lists are filled once from what the node remembers; the stream's backlog repeats some of that.
const known = new Set();
const loaded = load();

async function load() {
  const get = async (path) => (await fetch(path, { headers: { Accept: "application/json" } })).json();
  try {
    const [s, d] = await Promise.all([get("/debug/supervision"), get("/debug/deadletters")]);
    feed.fill("decisions", s.decisions.map((data) => ({ kind: "decision", data })));
    feed.fill("letters", d.last.map((data) => ({ kind: "deadletter", data })));
    for (const x of s.decisions) isNew(`${x.time} ${x.child}`);
    for (const x of d.last) isNew(`${x.time} ${x.target} ${x.message}`);
    letters = d.total;
    store.dirty = true;
  } catch {
    // The stream says that the node is away; what it remembers comes with the stream's backlog.
  }
  schedule();
}

function isNew(identity) {
  if (known.has(identity)) return false;
  if (known.size > 5000) known.clear();
  known.add(identity);
  return true;
}

async function addDecision(d) {
  await loaded;
  if (!isNew(`${d.time} ${d.child}`)) return;
  feed.add("decisions", { kind: "decision", data: d });
  schedule();
}

async function addLetter(l) {
  await loaded;
  if (!isNew(`${l.time} ${l.target} ${l.message}`)) return;
  letters++;
  feed.add("letters", { kind: "deadletter", data: l });
  store.dirty = true;
  schedule();
}

let retryAt = 0;
function showConnection(state, at) {
  retryAt = at || 0;
  $("connection").dataset.state = state;
  const words = { live: "Live", connecting: "Connecting", lost: "Reconnecting" };
  setText($("connection").lastElementChild, words[state]);
  document.body.classList.toggle("stale", state !== "live");
}

new Stream((kind, data, number) => { on[kind]?.(data, number); schedule(); }, showConnection);
table.onChange = schedule;

setInterval(() => {
  if (retryAt) $("connection").lastElementChild.textContent = `Reconnecting in ${Math.max(1, Math.ceil((retryAt - Date.now()) / 1000))}s`;
  schedule();
}, 1000);

$("filter").addEventListener("input", (e) => {
  store.filter = e.target.value.trim();
  store.asked = true;
  table.view.scrollTop = 0;
  schedule();
});

addEventListener("keydown", (e) => {
  if (e.key === "/" && !e.target.closest("input")) {
    e.preventDefault();
    $("filter").focus();
    $("filter").select();
  } else if (e.key === "Escape" && e.target === $("filter")) {
    $("tree").focus();
  } else if (e.key === "ArrowDown" && e.target === $("filter")) {
    e.preventDefault();
    $("tree").focus();
  }
});

for (const tile of document.querySelectorAll(".tile")) {
  tile.addEventListener("click", () => {
    store.only = store.only === tile.dataset.class ? "all" : tile.dataset.class;
    for (const t of document.querySelectorAll(".tile")) t.setAttribute("aria-pressed", String(t.dataset.class === store.only));
    store.asked = true;
    table.view.scrollTop = 0;
    schedule();
  });
}

$("expand").addEventListener("click", (e) => {
  store.setExpanded(!store.expanded);
  e.currentTarget.setAttribute("aria-pressed", String(store.expanded));
  schedule();
});
