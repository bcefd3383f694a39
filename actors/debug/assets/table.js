// The tree as a table. Only the rows in view exist as elements: each has a fixed height and is placed by its index.

import { clockTime, count, el, now, rest, shortType, span, stamp, tone } from "./format.js";

const height = 36; // px, as in table.css
const overscan = 8;
const flashFor = 1200;

const columns = [
  { by: "name", label: "Name" },
  { by: "state", label: "State" },
  { by: "since", label: "For", title: "How long it has been in this state" },
  { by: "restarts", label: "Restarts", title: "How often it was started again, retries of a pull included", number: true },
  { by: "next", label: "Next restart" },
  { by: "mailbox", label: "Mailbox", title: "Messages waiting now / at most ever", number: true },
  { by: "busy", label: "Handling", title: "The message it is busy with, and for how long" },
  { by: "failure", label: "Last failure" },
];

export class Table {
  #elements = new Map(); // id of actor -> row element
  #spare = [];
  #list = [];
  #active = ""; // id of the row that the keyboard is at

  constructor(store, open) {
    this.store = store;
    this.open = open; // called with a row when its details are wanted
    this.root = document.getElementById("tree");
    this.view = document.getElementById("tree-view");
    this.canvas = document.getElementById("tree-canvas");
    this.empty = document.getElementById("empty");
    this.#head();
    this.view.addEventListener("scroll", () => requestAnimationFrame(() => this.render()), { passive: true });
    new ResizeObserver(() => this.render()).observe(this.view);
    this.canvas.addEventListener("click", (e) => this.#click(e));
    this.root.addEventListener("keydown", (e) => this.#key(e));
  }

  #head() {
    const head = document.getElementById("tree-head");
    columns.forEach((c, i) => {
      const button = el("button", "sort", c.label);
      button.type = "button";
      button.tabIndex = -1;
      button.title = c.title || `Sort by ${c.label.toLowerCase()}`;
      const cell = el("div", c.number ? "cell number" : "cell", button);
      cell.setAttribute("role", "columnheader");
      cell.setAttribute("aria-colindex", i + 1);
      cell.dataset.by = c.by;
      head.append(cell);
      button.addEventListener("click", () => this.sortBy(c.by));
    });
    this.#showOrder();
  }

  // sortBy orders by a column; again, the other way round. Numbers begin with the largest.
  sortBy(by) {
    const { sort } = this.store;
    const largest = ["state", "mailbox", "busy", "restarts"].includes(by);
    sort.down = sort.by === by ? !sort.down : largest;
    sort.by = by;
    this.store.asked = true;
    this.#showOrder();
    this.view.scrollTop = 0;
    this.onChange?.();
  }

  #showOrder() {
    const { by, down } = this.store.sort;
    for (const cell of document.getElementById("tree-head").children) {
      const on = cell.dataset.by === by;
      cell.setAttribute("aria-sort", on ? (down ? "descending" : "ascending") : "none");
    }
  }

  setList(list) {
    this.#list = list.rows;
    this.canvas.style.height = `${list.rows.length * height}px`;
    this.root.setAttribute("aria-rowcount", list.rows.length + 1);
    this.empty.hidden = list.rows.length > 0;
    this.empty.textContent = this.store.rows.size === 0 ? "No actors yet." : "No actor matches. Clear the filter or pick another tile.";
  }

  // render places the rows in view and fills those that are new or changed. tick fills all of them.
  render(tick = false) {
    const first = Math.max(0, Math.floor(this.view.scrollTop / height) - overscan);
    const last = Math.min(this.#list.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / height) + overscan);
    const wanted = new Set();
    for (let i = first; i < last; i++) wanted.add(this.#list[i].row.id);
    for (const [id, e] of this.#elements) {
      if (wanted.has(id)) continue;
      e.remove();
      this.#elements.delete(id);
      this.#spare.push(e);
    }
    for (let i = first; i < last; i++) {
      const item = this.#list[i];
      let e = this.#elements.get(item.row.id);
      const fresh = !e;
      if (fresh) {
        e = this.#spare.pop() || this.#newRow();
        e.cache = {};
        this.#elements.set(item.row.id, e);
        this.canvas.append(e);
      }
      this.#place(e, item, i);
      if (fresh || tick || e.item !== item || this.store.touched.has(item.row.id)) this.#fill(e, item);
    }
    if (this.#active) this.root.setAttribute("aria-activedescendant", this.#elements.has(this.#active) ? rowID(this.#active) : "");
  }

  #newRow() {
    const cells = columns.map((c, i) => {
      const cell = el("div", c.number ? "cell number" : "cell");
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-colindex", i + 1);
      return cell;
    });
    const e = el("div", "row", ...cells);
    e.setAttribute("role", "row");
    e.cells = cells;
    return e;
  }

  #place(e, item, i) {
    const set = (name, value) => once(e, name, value, () => e.setAttribute(name, value));
    once(e, "top", i, () => { e.style.transform = `translateY(${i * height}px)`; });
    set("id", rowID(item.row.id));
    set("data-id", item.row.id);
    set("aria-rowindex", i + 2);
    set("aria-level", item.level);
    set("data-kind", item.row.kind);
    set("aria-selected", String(item.row.id === this.#active));
    if (item.children > 0) set("aria-expanded", String(item.open));
    else once(e, "aria-expanded", "", () => e.removeAttribute("aria-expanded"));
  }

  #fill(e, item) {
    const { row } = item;
    e.item = item;
    const [name, state, since, restarts, next, mailbox, busy, failure] = e.cells;
    const t = this.store.classOf(row);
    this.#name(e, name, item);
    once(e, "state", `${row.state} ${t}`, () => state.replaceChildren(pill(row.state, pillTone(row, t))));
    text(e, since, row.since ? span(now() - row.since) : "");
    once(e, "sinceTitle", row.since, () => { since.title = row.since ? `since ${clockTime(row.since)}` : ""; });
    const n = row.kind === "pod" ? this.store.modules(row.id).reduce((sum, m) => sum + m.restarts, 0) : row.restarts;
    text(e, restarts, n ? count(n) : "–");
    restarts.classList.toggle("faint", n === 0);
    this.#next(e, next, row);
    once(e, "mailbox", `${row.mailbox.length}/${row.mailbox.highWater}`, () => {
      mailbox.replaceChildren(el("b", row.mailbox.length > 0 ? "" : "faint", count(row.mailbox.length)), el("span", "faint", ` / ${count(row.mailbox.highWater)}`));
    });
    this.#busy(e, busy, row);
    this.#failure(e, failure, row);
    once(e, "flash", row.flash && now() - row.flash < flashFor, (on) => e.classList.toggle("flash", on));
  }

  #name(e, cell, item) {
    const { row } = item;
    const modules = row.kind === "pod" ? this.store.modules(row.id) : [];
    const up = modules.filter((m) => m.state === "Running").length;
    once(e, "name", `${row.kind}|${row.pod.namespace}|${row.label}|${up}/${modules.length}|${item.children > 0}|${row.id}`, () => {
      const parts = [];
      if (row.kind === "pod") {
        const twist = el("button", "twist");
        twist.type = "button";
        twist.tabIndex = -1;
        twist.setAttribute("aria-label", "Show or hide containers");
        twist.hidden = item.children === 0;
        parts.push(twist);
      }
      const label = el("span", "label", row.kind === "pod" && row.pod.namespace ? el("span", "ns", `${row.pod.namespace}/`) : "", row.label);
      label.title = row.id;
      parts.push(label);
      if (modules.length > 0) {
        const ready = el("span", "ready", `${up}/${modules.length}`);
        ready.title = `${up} of ${modules.length} containers running`;
        parts.push(ready);
      }
      cell.replaceChildren(...parts);
    });
  }

  #next(e, cell, row) {
    const left = row.next - now();
    if (!row.next || left <= 0 || row.state === "Running") {
      once(e, "next", "", () => cell.replaceChildren());
      return;
    }
    once(e, "next", "bar", () => cell.replaceChildren(el("span", "count"), el("span", "meter", el("i"))));
    cell.firstChild.textContent = `in ${rest(left)}`;
    const whole = Math.max(row.next - row.since, left, 1);
    cell.lastChild.firstChild.style.width = `${(100 * left) / whole}%`;
  }

  #busy(e, cell, row) {
    if (!row.busy) {
      once(e, "busy", "", () => cell.replaceChildren());
      return;
    }
    const took = now() - row.busy;
    const level = took > 30000 ? "failed" : took > 5000 ? "backoff" : "";
    once(e, "busy", `${row.handling.message}|${level}|${span(took)}`, () => {
      cell.replaceChildren(el("code", "", shortType(row.handling.message)), el("span", `took ${level}`, span(took)));
    });
  }

  #failure(e, cell, row) {
    const f = row.lastFailure;
    if (!f) {
      once(e, "failure", "", () => cell.replaceChildren());
      return;
    }
    const ago = span(now() - stamp(f.time));
    once(e, "failure", `${f.reason}|${ago}|${f.message}`, () => {
      cell.replaceChildren(el("span", `reason ${f.reason === "Completed" ? "" : "bad"}`, f.reason), el("span", "faint", ` ${ago} ago`));
      cell.title = f.message;
    });
  }

  #click(e) {
    const rowElement = e.target.closest(".row");
    if (!rowElement) return;
    const { item } = rowElement;
    this.#activate(this.#list.findIndex((i) => i.row.id === item.row.id));
    if (e.target.closest(".twist")) {
      this.store.toggle(item.row.id);
      this.onChange?.();
    } else {
      this.open(item.row);
    }
  }

  #activate(i) {
    if (i < 0 || i >= this.#list.length) return;
    this.#active = this.#list[i].row.id;
    const top = i * height;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (top + height > this.view.scrollTop + this.view.clientHeight) this.view.scrollTop = top + height - this.view.clientHeight;
    this.render();
  }

  #key(e) {
    if (e.target !== this.root) return;
    const at = this.#list.findIndex((i) => i.row.id === this.#active);
    const item = this.#list[at];
    const page = Math.max(1, Math.floor(this.view.clientHeight / height) - 1);
    const steps = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), PageDown: Math.min(at + page, this.#list.length - 1),
      PageUp: Math.max(0, at - page), Home: 0, End: this.#list.length - 1 };
    if (e.key in steps) {
      this.#activate(steps[e.key]);
    } else if (item && (e.key === "Enter" || e.key === " ")) {
      this.open(item.row);
    } else if (item && e.key === "ArrowRight" && item.children > 0) {
      if (item.open) this.#activate(at + 1);
      else this.#toggle(item.row.id);
    } else if (item && e.key === "ArrowLeft") {
      if (item.level === 2 && item.open && item.children > 0) this.#toggle(item.row.id);
      else this.#activate(this.#list.findIndex((i) => i.row.id === item.row.parent));
    } else {
      return;
    }
    e.preventDefault();
  }

  #toggle(id) {
    this.store.toggle(id);
    this.onChange?.();
  }
}

export function pill(state, t) {
  return el("span", `pill ${t}`, el("i"), state || "unknown");
}

// pillTone colors an actor by its own state, unless it or one of its containers is in trouble.
export function pillTone(row, cls) {
  if (cls === "backoff" || cls === "failed") return cls;
  return tone(row.state);
}

const rowID = (id) => `row-${id}`;

// once runs set only when the value differs from the last one: most cells stay as they are from second to second.
function once(e, name, value, set) {
  if (e.cache[name] === value) return;
  e.cache[name] = value;
  set(value);
}

function text(e, cell, value) {
  if (cell.textContent !== value) cell.textContent = value;
}
