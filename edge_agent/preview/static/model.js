// The drawing: lines and zones, with the way back. Pure; nothing here knows of the page.

const DEPTH = 60;
let keys = 0;

export const least = (kind) => (kind === "lines" ? 2 : 3);

export class Drawing {
  constructor() {
    this.shapes = [];
    this.past = [];
  }

  /** Begin anew with what stands in the file. */
  load(saved) {
    this.shapes = ["lines", "zones"].flatMap((kind) => saved[kind].map((drawn) => shape(kind, drawn)));
    this.past = [];
  }

  /** The file was read again: keep what was drawn, and take in what is new there. */
  merge(before, saved) {
    for (const kind of ["lines", "zones"]) {
      const known = new Set(before[kind].map((drawn) => drawn.name));
      const there = new Set(saved[kind].map((drawn) => drawn.name));
      for (const one of this.shapes) if (one.kind === kind && !there.has(one.was)) one.was = null;
      for (const drawn of saved[kind]) if (!known.has(drawn.name)) this.shapes.push(shape(kind, drawn));
    }
    this.past = [];
  }

  /** After saving, everything has a name in the file. */
  settle() {
    for (const one of this.shapes) one.was = one.name;
    this.past = [];
  }

  /** Note the present state; to be called before a change. */
  mark() {
    this.past.push(JSON.stringify(this.shapes));
    if (this.past.length > DEPTH) this.past.shift();
  }

  /** Forget the last note, since nothing changed after all. */
  unmark() {
    this.past.pop();
  }

  undo() {
    const before = this.past.pop();
    if (before) this.shapes = JSON.parse(before);
  }

  get(key) {
    return this.shapes.find((one) => one.key === key);
  }

  add(kind, points) {
    this.mark();
    const one = shape(kind, { name: this.freeName(kind), points: points.map(rounded), was: null });
    this.shapes.push(one);
    return one;
  }

  remove(key) {
    this.mark();
    this.shapes = this.shapes.filter((one) => one.key !== key);
  }

  /** Where `in` was is `out` from now on. */
  swap(key) {
    this.mark();
    this.get(key).points.reverse();
  }

  freeName(kind) {
    const word = kind === "lines" ? "line" : "zone";
    const taken = new Set(this.shapes.map((one) => one.name));
    let number = 1;
    while (taken.has(`${word} ${number}`)) number += 1;
    return `${word} ${number}`;
  }

  /** As it is sent: position in `lines` and `zones` is the order of shapes of that kind. */
  sent() {
    const of = (kind) =>
      this.shapes.filter((one) => one.kind === kind).map(({ name, points, was }) => ({ name, points, was }));
    return { lines: of("lines"), zones: of("zones") };
  }

  /** The shape that a complaint of the server is about. */
  at(kind, index) {
    return this.shapes.filter((one) => one.kind === kind)[index];
  }
}

function shape(kind, drawn) {
  keys += 1;
  return { key: keys, kind, name: drawn.name, points: drawn.points.map((point) => [...point]), was: drawn.was };
}

export const rounded = ([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10];

/** The middle of a line's longest piece and the unit vector to its right there, which is `in`. */
export function middleAndRight(points) {
  let best = 0;
  let middle = points[0];
  let right = [0, 1];
  for (let i = 1; i < points.length; i += 1) {
    const [dx, dy] = [points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]];
    const length = Math.hypot(dx, dy);
    if (length > best) {
      best = length;
      middle = [points[i - 1][0] + dx / 2, points[i - 1][1] + dy / 2];
      right = [-dy / length, dx / length];
    }
  }
  return { middle, right };
}

/** The pieces of a shape: index of the first point, and the middle. The last of a zone joins its ends. */
export function pieces({ kind, points }) {
  const n = kind === "zones" ? points.length : points.length - 1;
  return Array.from({ length: n }, (_, i) => {
    const [a, b] = [points[i], points[(i + 1) % points.length]];
    return { after: i, middle: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], length: Math.hypot(a[0] - b[0], a[1] - b[1]) };
  });
}
