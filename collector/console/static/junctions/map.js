// A plain map of the city's own junctions: no streets and no tiles, but where they are and how they do.
//
// Moved by pointer, wheel, pinch and keys. What is close together is one mark with a number, which zooms in.

import { arrange, h, say } from "../shell/dom.js";
import { count } from "../shell/format.js";
import { toast } from "../shell/toast.js";
import { MapView, radiusOf } from "./view.js";

const WORDS = { live: "live", late: "late", silent: "silent", never: "never heard" };
const WORST = ["silent", "late", "never", "live"];
const COLOURS = { live: "var(--live)", late: "var(--late)", silent: "var(--bad)", never: "var(--never)" };
const ASK_AFTER_MS = 140;
const STEP_PX = 80;
const RULER_PX = 110;
const LABEL = { height: 18, perLetter: 8.5, most: 224, gap: 12 };
const MOVED_PX = 4;

export class JunctionMap {
  /** `asks(query)` is called when another part is to be shown; the answer comes with `update`. */
  constructor(asks) {
    this.asks = asks;
    this.view = new MapView();
    this.cells = [];
    this.marks = new Map();
    this.fitted = null;
    this.pointers = new Map();
    this.layer = h("div", { class: "map-marks" });
    this.scale = h("span", { class: "map-scale" }, h("span"), h("i", { "aria-hidden": "true" }));
    const button = (words, sign, call) => h("button", { type: "button", "aria-label": words, title: words, onclick: call }, sign);
    const buttons = h(
      "div",
      { class: "map-buttons" },
      button("Zoom in", "+", () => this.#zoom(1.8)),
      button("Zoom out", "\u2212", () => this.#zoom(1 / 1.8)),
      button("Show all", "\u2922", () => this.fit(this.bounds)),
    );
    const north = h("span", { class: "map-north", role: "img", "aria-label": "North is up" }, "N");
    this.field = h("div", { class: "map-field", tabindex: "0", role: "application", "aria-label": "Map of the junctions. Arrow keys move it, plus and minus zoom, 0 shows all." }, this.layer);
    this.root = h("section", { class: "map", "aria-label": "Map" }, this.field, buttons, north, this.scale);
    this.#listen();
  }

  #listen() {
    new ResizeObserver(() => this.#resized()).observe(this.field);
    this.field.addEventListener("focusin", (event) => event.target.matches(":focus-visible") && this.#reveal(event.target));
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.field.addEventListener("pointerdown", (event) => this.#down(event));
    this.field.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) this.field.addEventListener(kind, (event) => this.#up(event));
    // Whoever dragged the map did not mean the mark below the finger.
    this.field.addEventListener("click", (event) => this.dragged && (event.preventDefault(), event.stopPropagation()), true);
    this.field.addEventListener("dragstart", (event) => event.preventDefault());
  }

  /** Take in what the collector told: see `GET /api/junctions/map`. */
  update(answer) {
    this.bounds = answer.bounds;
    this.cells = answer.cells;
    if (answer.bounds && this.fitted === null) this.fit(answer.bounds);
    else this.draw();
  }

  fit(bounds) {
    if (!bounds || this.view.width === 0) return;
    this.fitted = bounds;
    this.view.fit(bounds);
    this.#changed();
  }

  #resized() {
    const { clientWidth, clientHeight } = this.field;
    if (clientWidth === 0 || (clientWidth === this.view.width && clientHeight === this.view.height)) return;
    this.view.width = clientWidth;
    this.view.height = clientHeight;
    if (this.fitted === null) this.fit(this.bounds);
    else this.#changed();
  }

  #changed() {
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.asks(this.view.query()), ASK_AFTER_MS);
  }

  #zoom(factor, x, y) {
    this.view.zoom(factor, x, y);
    this.#changed();
  }

  #key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ways[event.key]) this.view.pan(...ways[event.key].map((n) => n * STEP_PX));
    else if (event.key === "+" || event.key === "=") this.view.zoom(1.5);
    else if (event.key === "-") this.view.zoom(1 / 1.5);
    else if (event.key === "0") return this.fit(this.bounds);
    else return undefined;
    event.preventDefault();
    return this.#changed();
  }

  /** Whoever goes from mark to mark by keys sees where they are. */
  #reveal(root) {
    const mark = [...this.marks.values()].find((one) => one.root === root);
    if (mark && this.view.bring(mark.x, mark.y)) this.#changed();
  }

  #wheel(event) {
    event.preventDefault();
    const [x, y] = this.#at(event);
    this.#zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), x, y);
  }

  #at(event) {
    const box = this.field.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #down(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, this.#at(event));
    this.dragged = false;
    this.way = 0;
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#at(event);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, now);
    this.way += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (this.way < MOVED_PX) return;
    if (!this.dragged) this.field.setPointerCapture(event.pointerId);
    this.dragged = true;
    const share = others.length ? 0.5 : 1;
    this.view.pan((before[0] - now[0]) * share, (before[1] - now[1]) * share);
    if (others.length) {
      const apart = (at) => Math.hypot(at[0] - others[0][0], at[1] - others[0][1]);
      this.view.zoom(apart(now) / Math.max(1, apart(before)), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2);
    }
    this.#changed();
  }

  #up(event) {
    this.pointers.delete(event.pointerId);
  }

  draw() {
    const kept = new Map();
    for (const cell of this.#apart()) {
      const id = cell.junction?.id ?? `${cell.bounds.west} ${cell.bounds.south} ${cell.n}`;
      kept.set(id, this.marks.get(id) ?? this.#mark(cell));
      kept.get(id).update(cell, this.view);
    }
    this.marks = kept;
    const marks = [...kept.values()].sort((a, b) => a.y - b.y || a.x - b.x);
    arrange(this.layer, marks.map((mark) => mark.root));
    label(marks, this.view);
    this.#ground();
  }

  /** Moving the map changes nothing of it, and is drawn often. */
  #apart() {
    const { cells, view } = this;
    if (this.drawn?.cells !== cells || this.drawn.scale !== view.scale) {
      this.drawn = { cells, scale: view.scale, apart: view.apart(cells) };
    }
    return this.drawn.apart;
  }

  #mark(cell) {
    if (cell.junction) return new JunctionMark(cell.junction);
    return new ClusterMark(({ bounds, n }) => {
      if (this.view.isNearest) toast(`${count(n)} junctions stand at this place. The list has their names.`);
      this.view.show(bounds);
      this.#changed();
      this.field.focus({ preventScroll: true });
    });
  }

  #ground() {
    const [metres, px] = this.view.ruler(RULER_PX);
    say(this.scale.firstElementChild, metres >= 1000 ? `${metres / 1000} km` : `${metres} m`);
    this.scale.lastElementChild.style.width = `${px.toFixed(1)}px`;
    const [x, y] = this.view.point(0, 0).map((at) => ((at % px) + px) % px);
    this.field.style.backgroundSize = `${px}px ${px}px`;
    this.field.style.backgroundPosition = `${x.toFixed(1)}px ${y.toFixed(1)}px`;
  }
}

class Mark {
  update(cell, view) {
    this.cell = cell;
    [this.x, this.y] = view.point(cell.longitude, cell.latitude);
    this.root.style.transform = `translate(${this.x.toFixed(1)}px, ${this.y.toFixed(1)}px)`;
  }
}

class JunctionMark extends Mark {
  constructor({ id, name }) {
    super();
    this.name = h("span", { class: "map-name" }, name);
    this.shape = h("span", { class: "state" });
    this.root = h("a", { class: "mark", href: `/junctions/${id}` }, this.shape, this.name);
    this.radius = radiusOf(1);
  }

  update(cell, view) {
    super.update(cell, view);
    const state = WORST.find((one) => cell.states[one] > 0);
    this.shape.dataset.state = state;
    const words = `${cell.junction.name}, ${WORDS[state]}`;
    this.root.setAttribute("aria-label", words);
    this.root.title = words;
  }
}

class ClusterMark extends Mark {
  constructor(opens) {
    super();
    this.n = h("span", { class: "mark-n" });
    this.worst = h("span", { class: "state mark-worst" });
    this.root = h("button", { type: "button", class: "mark cluster", onclick: () => opens(this.cell) }, this.n, this.worst);
  }

  update(cell, view) {
    super.update(cell, view);
    this.radius = radiusOf(cell.n);
    const size = `${(2 * this.radius).toFixed(0)}px`;
    this.root.style.width = size;
    this.root.style.height = size;
    this.root.style.margin = `${-this.radius.toFixed(0)}px`;
    this.root.style.background = shares(cell);
    say(this.n, count(cell.n));
    const worst = WORST.find((one) => cell.states[one] > 0);
    this.worst.hidden = worst === "live" || worst === "never";
    this.worst.dataset.state = worst;
    const told = Object.entries(cell.states).filter(([, n]) => n > 0).map(([state, n]) => `${n} ${WORDS[state]}`);
    const words = `${cell.n} junctions: ${told.join(", ")}. Zoom in`;
    this.root.setAttribute("aria-label", words);
    this.root.title = words;
  }
}

/** A ring that tells how many of a cluster are how. */
function shares(cell) {
  let at = 0;
  const parts = WORST.filter((state) => cell.states[state] > 0).map((state) => {
    const from = at;
    at += (cell.states[state] / cell.n) * 360;
    return `${COLOURS[state]} ${from.toFixed(1)}deg ${at.toFixed(1)}deg`;
  });
  return `conic-gradient(${parts.join(", ")})`;
}

/** Show the names that have room: none covers a mark or another name. Those that need somebody come first. */
function label(marks, view) {
  const taken = marks.map((mark) => [mark.x - mark.radius, mark.y - mark.radius, mark.x + mark.radius, mark.y + mark.radius]);
  const named = marks.filter((mark) => mark.name);
  named.sort((a, b) => WORST.indexOf(a.shape.dataset.state) - WORST.indexOf(b.shape.dataset.state));
  for (const mark of named) {
    const width = Math.min(LABEL.most, mark.name.textContent.length * LABEL.perLetter);
    const toLeft = mark.x + LABEL.gap + width > view.width;
    const left = toLeft ? mark.x - LABEL.gap - width : mark.x + LABEL.gap;
    const box = [left, mark.y - LABEL.height / 2, left + width, mark.y + LABEL.height / 2];
    const seen = mark.x > 0 && mark.x < view.width && mark.y > 0 && mark.y < view.height;
    const free = seen && !taken.some((other) => overlap(box, other));
    mark.root.classList.toggle("named", free);
    mark.root.classList.toggle("to-left", toLeft);
    if (free) taken.push(box);
  }
}

function overlap([a, b, c, d], [e, f, g, i]) {
  return a < g && e < c && b < i && f < d;
}
