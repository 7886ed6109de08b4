// Lines and zones over the picture: seen, drawn, dragged; by finger, mouse or keyboard.

import { heatLayer } from "./heat.js";
import { least, middleAndRight, pieces, rounded } from "./model.js";
import { s } from "./svg.js";

const TOUCH_PX = 48;
const DRAG_PX = 12;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Editor {
  /** `on`: `changed()` after a change that is whole, `selected()` when another shape or point is, `mode()`. */
  constructor(svg, drawing, on) {
    Object.assign(this, { svg, drawing, on });
    this.size = [640, 360];
    this.selected = null;
    this.point = null;
    this.mode = "select";
    this.pending = [];
    this.rubber = null;
    this.drag = null;
    this.counts = new Map();
    this.faulty = new Set();
    this.flash = new Set();
    this.proposals = [];
    this.heat = null;
    this.layer = s("g");
    svg.append(this.layer);
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
      svg.addEventListener(kind, (event) => this[kind](event));
    // Not every browser heeds touch-action inside a picture: else the page scrolls away under the finger.
    const hold = (event) => {
      if (this.mode !== "select" || event.target.closest("[data-shape]")) event.preventDefault();
    };
    svg.addEventListener("touchstart", hold, { passive: false });
    svg.addEventListener("keydown", (event) => this.keydown(event));
    svg.addEventListener("focusin", (event) => this.focused(event.target));
    new ResizeObserver(() => this.render()).observe(svg);
  }

  setSize(width, height) {
    if (this.size[0] === width && this.size[1] === height) return;
    this.size = [width, height];
    this.render();
  }

  setMode(mode) {
    this.mode = mode;
    this.pending = [];
    this.rubber = null;
    this.drag = null;
    if (mode !== "select") this.select(null);
    this.svg.parentElement.classList.toggle("drawing", mode !== "select");
    this.on.mode(mode);
    this.render();
  }

  select(key, point = null) {
    if (this.selected === key && this.point === point) return;
    this.selected = key;
    this.point = point;
    this.on.selected();
    this.render();
  }

  /** A new shape in the middle, for those who have no pointer; arrow keys take it from there. */
  addInTheMiddle(kind) {
    const [w, h] = this.size;
    const line = [[0.25 * w, 0.5 * h], [0.75 * w, 0.5 * h]];
    const zone = [[0.35 * w, 0.35 * h], [0.65 * w, 0.35 * h], [0.65 * w, 0.65 * h], [0.35 * w, 0.65 * h]];
    this.finish(kind, kind === "lines" ? line : zone);
    this.svg.querySelector(`[data-shape="${this.selected}"]`)?.focus();
  }

  /** The corners that were tapped make a zone. */
  done() {
    if (this.mode === "zones" && this.pending.length >= 3) this.finish("zones", this.pending);
    else this.setMode("select");
  }

  removePoint() {
    const one = this.drawing.get(this.selected);
    if (!one || this.point === null || one.points.length <= least(one.kind)) return;
    this.drawing.mark();
    one.points.splice(this.point, 1);
    this.point = null;
    this.changed();
  }

  addPoint() {
    const one = this.drawing.get(this.selected);
    const longest = pieces(one).reduce((a, b) => (b.length > a.length ? b : a));
    this.drawing.mark();
    one.points.splice(longest.after + 1, 0, rounded(longest.middle));
    this.point = longest.after + 1;
    this.changed();
  }

  finish(kind, points) {
    const one = this.drawing.add(kind, points);
    this.setMode("select");
    this.selected = one.key;
    this.point = null;
    this.changed();
  }

  changed() {
    this.on.changed();
    this.on.selected();
    this.render();
  }

  // --- pointers -----------------------------------------------------------------------------------------------

  /** Pixels of the picture for one of the screen. */
  get unit() {
    return this.size[0] / Math.max(1, this.svg.clientWidth);
  }

  place(event) {
    const box = this.svg.getBoundingClientRect();
    const [w, h] = this.size;
    const x = ((event.clientX - box.left) / box.width) * w;
    const y = ((event.clientY - box.top) / box.height) * h;
    return rounded([Math.min(w, Math.max(0, x)), Math.min(h, Math.max(0, y))]);
  }

  pointerdown(event) {
    if (!event.isPrimary || event.button > 0 || this.drag) return;
    const place = this.place(event);
    if (this.mode !== "select") {
      this.drag = { kind: "draw", from: place, id: event.pointerId };
    } else {
      const target = event.target.closest("[data-shape]");
      if (!target) {
        this.select(null);
        return;
      }
      this.take(target, place, event);
    }
    event.preventDefault();
    this.svg.setPointerCapture(event.pointerId);
    this.render();
  }

  /** A handle, the middle of a piece, or a whole shape is taken hold of. */
  take(target, place, event) {
    const one = this.drawing.get(Number(target.dataset.shape));
    this.drawing.mark();
    const before = one.points.map((point) => [...point]);
    let point = target.dataset.point === undefined ? null : Number(target.dataset.point);
    if (target.dataset.after !== undefined) {
      point = Number(target.dataset.after) + 1;
      one.points.splice(point, 0, place);
    }
    this.drag = { kind: "move", from: place, before: one.points.map((p) => [...p]), point, one, id: event.pointerId };
    this.drag.inserted = one.points.length > before.length;
    this.selected = one.key;
    this.point = point;
    this.on.selected();
    target.focus?.({ preventScroll: true });
  }

  pointermove(event) {
    if (!this.drag || event.pointerId !== this.drag.id) {
      if (this.mode !== "select" && this.pending.length) {
        this.rubber = this.place(event);
        this.render();
      }
      return;
    }
    const place = this.place(event);
    const far = Math.hypot(place[0] - this.drag.from[0], place[1] - this.drag.from[1]) > this.unit * 3;
    this.drag.moved ||= far;
    if (this.drag.kind === "draw") this.rubber = place;
    else if (this.drag.moved) this.moveTo(place);
    this.render();
  }

  moveTo(place, { one, before, from, point } = this.drag) {
    const [w, h] = this.size;
    const into = ([x, y]) => rounded([Math.min(w, Math.max(0, x)), Math.min(h, Math.max(0, y))]);
    const by = [place[0] - from[0], place[1] - from[1]];
    one.points = before.map((old, i) =>
      point === null || i === point ? into([old[0] + by[0], old[1] + by[1]]) : old,
    );
  }

  pointerup(event) {
    if (!this.drag || event.pointerId !== this.drag.id) return;
    const { drag } = this;
    this.drag = null;
    if (drag.kind === "draw") this.drawn(drag.from, this.place(event));
    else if (drag.moved || drag.inserted) this.changed();
    else this.drawing.unmark();
    this.render();
  }

  pointercancel(event) {
    if (!this.drag || event.pointerId !== this.drag.id) return;
    if (this.drag.kind === "move") this.drawing.undo();
    this.drag = null;
    this.rubber = null;
    this.render();
  }

  /** A stroke makes a line, or a zone from corner to corner; taps make point after point. */
  drawn(from, to) {
    const stroke = Math.hypot(to[0] - from[0], to[1] - from[1]) > DRAG_PX * this.unit;
    this.rubber = null;
    if (stroke && !this.pending.length) {
      const box = [from, [to[0], from[1]], to, [from[0], to[1]]];
      this.finish(this.mode, this.mode === "lines" ? [from, to] : box);
      return;
    }
    const [first] = this.pending;
    const closes = first && Math.hypot(to[0] - first[0], to[1] - first[1]) < (TOUCH_PX / 2) * this.unit;
    if (this.mode === "zones" && closes && this.pending.length >= 3) {
      this.done();
      return;
    }
    this.pending.push(to);
    if (this.mode === "lines" && this.pending.length === 2) this.finish("lines", this.pending);
    this.on.mode(this.mode);
  }

  // --- keys ---------------------------------------------------------------------------------------------------

  focused(target) {
    const at = target.closest?.("[data-shape]");
    if (!at || this.drag || at.dataset.after !== undefined) return;
    const point = at.dataset.point === undefined ? null : Number(at.dataset.point);
    this.select(Number(at.dataset.shape), point);
  }

  keydown(event) {
    const one = this.drawing.get(this.selected);
    if (event.key === "Escape") this.setMode("select");
    else if (one && ARROWS[event.key]) this.nudge(one, ARROWS[event.key], event.shiftKey ? 10 : 1);
    else if (one && (event.key === "Delete" || event.key === "Backspace")) {
      if (this.point === null) this.drawing.remove(one.key);
      else if (one.points.length > least(one.kind)) {
        this.removePoint();
        event.preventDefault();
        return;
      }
      this.changed();
    } else return;
    event.preventDefault();
  }

  nudge(one, [dx, dy], step) {
    const now = Date.now();
    // One way back for a row of presses.
    const what = `${one.key}/${this.point}`;
    if (this.nudged?.what !== what || now - this.nudged.at > 1000) this.drawing.mark();
    this.nudged = { what, at: now };
    this.moveTo([dx * step, dy * step], { one, before: one.points, from: [0, 0], point: this.point });
    this.changed();
  }

  // --- seen ---------------------------------------------------------------------------------------------------

  render() {
    const [w, h] = this.size;
    const focus = this.svg.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    this.svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    const parts = [];
    if (this.heat) parts.push(heatLayer(this.heat, w, h));
    for (const proposal of this.proposals) parts.push(this.proposalPart(proposal));
    const chosen = this.drawing.get(this.selected);
    for (const one of this.drawing.shapes) if (one !== chosen) parts.push(this.shapePart(one));
    if (chosen) parts.push(this.shapePart(chosen), ...this.handles(chosen));
    if (this.mode !== "select") parts.push(this.pendingPart());
    this.keepHeld();
    this.layer.replaceChildren(...parts);
    if (focus) this.layer.querySelector(`[data-id="${focus}"]`)?.focus({ preventScroll: true });
  }

  /** What a finger lies on stays in the page, unseen, until it is lifted: else the browser breaks the gesture off. */
  keepHeld() {
    if (this.drag && !this.held) {
      this.held = this.layer;
      this.held.setAttribute("visibility", "hidden");
      this.layer = s("g");
      this.svg.append(this.layer);
    } else if (!this.drag && this.held) {
      this.held.remove();
      this.held = null;
    }
  }

  shapePart(one) {
    const u = this.unit;
    const state = [
      [one.key === this.selected, "selected"],
      [this.faulty.has(one.key), "faulty"],
      [this.flash.has(one.name), "flash"],
    ];
    const group = s("g", {
      class: ["shape", one.kind.slice(0, -1), ...state.filter(([is]) => is).map(([, word]) => word)].join(" "),
      "data-shape": one.key,
      "data-id": `s${one.key}`,
      tabindex: 0,
      role: "button",
      "aria-label": `${one.kind.slice(0, -1)} ${one.name}; arrow keys move it, Delete removes it`,
    });
    const name = one.kind === "zones" ? "polygon" : "polyline";
    const points = one.points.join(" ");
    group.append(
      s(name, { class: "hit", points, "stroke-width": TOUCH_PX * u }),
      s(name, { class: "casing", points, "stroke-width": 6 * u }),
      s(name, { class: "stroke", points, "stroke-width": 3 * u }),
    );
    group.append(...(one.kind === "lines" ? this.lineWords(one) : this.zoneWords(one)));
    return group;
  }

  lineWords(one) {
    const u = this.unit;
    const { middle, right } = middleAndRight(one.points);
    const [n_in, n_out] = this.counts.get(one.name) ?? ["", ""];
    return [
      ...this.arrow(middle, right, "in", n_in),
      ...this.arrow(middle, [-right[0], -right[1]], "out", n_out),
      this.text(one.name, this.away(one.points[0], 14 * u), 13 * u, "start"),
    ];
  }

  zoneWords(one) {
    const n = this.counts.get(one.name)?.[0] ?? "";
    const x = one.points.reduce((sum, point) => sum + point[0], 0) / one.points.length;
    const y = one.points.reduce((sum, point) => sum + point[1], 0) / one.points.length;
    return [this.text(`${one.name} ${n}`.trim(), [x, y], 14 * this.unit)];
  }

  arrow(middle, way, word, n) {
    const u = this.unit;
    const [x, y] = [middle[0] + way[0] * 30 * u, middle[1] + way[1] * 30 * u];
    const [bx, by] = [-way[0] * 9 * u, -way[1] * 9 * u];
    const tip = `M${x + bx - by} ${y + by + bx}L${x} ${y}L${x + bx + by} ${y + by - bx}`;
    const d = `M${middle[0]} ${middle[1]}L${x} ${y}${tip}`;
    const end = [middle[0] + way[0] * 46 * u, middle[1] + way[1] * 46 * u];
    return [
      s("path", { class: "casing", d, "stroke-width": 6 * u }),
      s("path", { class: `to-${word}`, d, "stroke-width": 3 * u }),
      this.text(`${word} ${n}`.trim(), end, 15 * u, "middle", word),
    ];
  }

  away([x, y], by) {
    return [x + by * 0.3, y - by];
  }

  text(words, [x, y], size, anchor = "middle", css = "") {
    const [w, h] = this.size;
    const half = words.length * size * 0.32;
    const left = anchor === "middle" ? half : 0;
    const put = { x: Math.min(w - (anchor === "middle" ? half : 2 * half), Math.max(left, x)), y: Math.min(h - size, Math.max(size * 0.7, y)) };
    const element = s("text", {
      ...put, class: css, "font-size": size, "stroke-width": size * 0.28, "text-anchor": anchor, "dominant-baseline": "central",
    });
    element.textContent = words;
    return element;
  }

  handles(one) {
    const u = this.unit;
    const between = pieces(one)
      .filter(({ length }) => length > 2.2 * TOUCH_PX * u)
      .map(({ after, middle }) => {
        // Beside the arrows, where a line has them.
        const next = one.points[(after + 1) % one.points.length];
        const at = one.kind === "lines" ? [middle[0] + (next[0] - middle[0]) * 0.5, middle[1] + (next[1] - middle[1]) * 0.5] : middle;
        return this.between(one, after, at);
      });
    return [...between, ...one.points.map((point, index) => this.handle(one, index, point))];
  }

  handle(one, index, [x, y]) {
    const u = this.unit;
    const group = s("g", {
      class: `handle${index === this.point ? " chosen" : ""}`,
      "data-shape": one.key, "data-point": index, "data-id": `s${one.key}p${index}`,
      tabindex: 0, role: "button",
      "aria-label": `point ${index + 1} of ${one.name}; arrow keys move it, Delete removes it`,
    });
    group.append(
      s("circle", { class: "hit", cx: x, cy: y, r: (TOUCH_PX / 2) * u }),
      s("circle", { class: "dot", cx: x, cy: y, r: 9 * u, "stroke-width": 3 * u }),
    );
    return group;
  }

  between(one, after, [x, y]) {
    const u = this.unit;
    const group = s("g", { class: "handle between", "data-shape": one.key, "data-after": after, "aria-hidden": "true" });
    group.append(
      s("circle", { class: "hit", cx: x, cy: y, r: (TOUCH_PX / 2) * u }),
      s("circle", { class: "dot", cx: x, cy: y, r: 8 * u, "stroke-width": 1.5 * u }),
      s("path", { d: `M${x - 4 * u} ${y}h${8 * u}M${x} ${y - 4 * u}v${8 * u}`, "stroke-width": 2 * u }),
    );
    return group;
  }

  pendingPart() {
    const u = this.unit;
    const from = this.drag?.kind === "draw" && !this.pending.length ? [this.drag.from] : this.pending;
    let points = this.rubber ? [...from, this.rubber] : from;
    if (this.mode === "zones" && this.drag && !this.pending.length && points.length === 2) {
      const [[ax, ay], [bx, by]] = points;
      points = [[ax, ay], [bx, ay], [bx, by], [ax, by], [ax, ay]];
    }
    const group = s("g", { "pointer-events": "none" });
    group.append(s("polyline", { class: "casing", points: points.join(" "), "stroke-width": 6 * u, fill: "none", stroke: "#10151b" }));
    group.append(s("polyline", { class: "pending", points: points.join(" "), "stroke-width": 3 * u }));
    for (const [cx, cy] of from) group.append(s("circle", { class: "dot", cx, cy, r: 7 * u, fill: "#fff" }));
    return group;
  }

  proposalPart({ points }) {
    const u = this.unit;
    const dash = `${10 * u} ${7 * u}`;
    const group = s("g", { "pointer-events": "none" });
    const { middle, right } = middleAndRight(points);
    group.append(
      s("polyline", { class: "casing", points: points.join(" "), "stroke-width": 6 * u, fill: "none", stroke: "#10151b", opacity: 0.6 }),
      s("polyline", { class: "proposal", points: points.join(" "), "stroke-width": 3.5 * u, "stroke-dasharray": dash }),
      ...this.arrow(middle, right, "in", ""),
      ...this.arrow(middle, [-right[0], -right[1]], "out", ""),
    );
    return group;
  }
}
