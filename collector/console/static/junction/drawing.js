// A junction seen from above: an arm for each approach, its lanes, their stop lines, lamps and queues.
//
// An arm is drawn as if it came from the north and then turned to its place. Who drives on it keeps to the right.

import { say } from "../shell/dom.js";
import { set, svg } from "../shell/svg.js";

const EDGE = 100; // From the middle to the end of an arm.
const LAMPS = ["green", "yellow", "red"]; // As drivers meet them: red is the farthest, as it is the highest.
/** Of a lane that is one unit wide. */
const CAR = { length: 0.62, width: 0.42, step: 0.81, radius: 0.13 };
const LAMP = { radius: 0.215, step: 0.54, margin: 0.31 };
/** Longer names of stages do not fit between the lamps; they stand beside the drawing. */
const LONGEST_WORD = 6;
/** Of an approach, that its name reaches no other arm. */
const LONGEST_NAME = 14;
const HOUSING = 2 * LAMP.margin + 2 * LAMP.step;
const COMPASS = { n: 0, ne: 45, e: 90, se: 135, s: 180, sw: 225, w: 270, nw: 315 };
const WORDS = { north: "n", east: "e", south: "s", west: "w" };

/** Draws one description; a junction that is described anew gets another drawing. */
export class Drawing {
  constructor(description) {
    this.lanes = new Map();
    this.svg = svg("svg", { class: "junction-plan", viewBox: "-114 -114 228 228", role: "img" });
    const arms = armsOf(description.lanes);
    const most = Math.max(...arms.map((arm) => arm.lanes.length));
    this.lane = Math.max(6, Math.min(11.5, 50 / (most + 2)));
    this.half = Math.max(most * this.lane + 6, HOUSING * this.lane + 12);
    const roads = svg("g", {});
    const marks = svg("g", {});
    for (const arm of arms) {
      roads.append(this.#road(arm));
      marks.append(this.#arm(arm), this.#name(arm));
    }
    this.stage = svg("text", { class: "plan-stage", x: 0, y: 0 });
    const side = 2 * this.half;
    const box = svg("rect", { class: "road", x: -this.half, y: -this.half, width: side, height: side, rx: this.lane * 0.7 });
    this.svg.append(roads, box, marks, this.stage);
  }

  #road(arm) {
    const entering = arm.lanes.length * this.lane;
    const leaving = Math.min(2, arm.lanes.length) * this.lane;
    const group = svg("g", { transform: `rotate(${arm.angle})` });
    const size = { x: -entering, y: -EDGE, width: entering + leaving, height: EDGE - this.half / 2 };
    group.append(svg("rect", { class: "road", ...size }));
    const end = -this.half - 1;
    group.append(svg("line", { class: "middle-line", x1: 0, x2: 0, y1: -EDGE, y2: end }));
    for (let index = 1; index < arm.lanes.length; index += 1) {
      const x = -index * this.lane;
      group.append(svg("line", { class: "lane-line", x1: x, x2: x, y1: -EDGE, y2: end }));
    }
    return group;
  }

  /** The approach's name, beside the end of its arm where nobody comes in; upright, and inside of the drawing. */
  #name({ name, angle, lanes }) {
    const turn = (angle * Math.PI) / 180;
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    const [aside, out] = [Math.min(2, lanes.length) * this.lane + 6, 6 - EDGE];
    const begins = Math.abs(cos) > 0.5 ? cos > 0 : sin < 0;
    const place = { x: (aside * cos - out * sin).toFixed(1), y: (aside * sin + out * cos).toFixed(1) };
    const text = svg("text", { class: `arm-name ${begins ? "begins" : "ends"}`, ...place });
    text.textContent = name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1).trimEnd()}\u2026` : name;
    return text;
  }

  #arm(arm) {
    const turned = svg("g", { transform: `rotate(${arm.angle})` });
    arm.lanes.forEach((name, index) => {
      const x = -(index + 0.5) * this.lane;
      const parts = { n: -1, standing: -1, cars: svg("g", {}), ...this.#lamps(x) };
      parts.count = svg("text", { class: "queue", transform: `translate(${x} ${-EDGE - 6}) rotate(${-arm.angle})` });
      parts.room = Math.floor((EDGE - this.half - 3) / (CAR.step * this.lane));
      parts.cars.setAttribute("transform", `translate(${x} ${-this.half - 3}) scale(${this.lane})`);
      parts.unknown.setAttribute("transform", `translate(${parts.middle[0]} ${parts.middle[1]}) rotate(${-arm.angle})`);
      parts.title = svg("title", {});
      const lane = svg("g", {});
      lane.append(parts.title, parts.line, parts.housing, ...parts.lamps.values(), parts.unknown, parts.cars, parts.count);
      turned.append(lane);
      this.lanes.set(name, parts);
    });
    return turned;
  }

  /** A stop line, and behind it the lamps. */
  #lamps(x) {
    const { lane, half } = this;
    const reach = lane / 2 - 1.2;
    const radius = LAMP.margin * lane;
    const size = { x: x - radius, y: 3 - half, width: 2 * radius, height: HOUSING * lane, rx: radius };
    const lamps = LAMPS.map((colour, place) => {
      const cy = 3 - half + (LAMP.margin + place * LAMP.step) * lane;
      return [colour, svg("circle", { class: `lamp ${colour}`, cx: x, cy, r: LAMP.radius * lane })];
    });
    return {
      line: svg("line", { class: "stop-line", x1: x - reach, x2: x + reach, y1: -half, y2: -half }),
      housing: svg("rect", { class: "housing", ...size }),
      lamps: new Map(lamps),
      middle: [x, 3 - half + (HOUSING / 2) * lane],
      unknown: svg("text", { class: "lamp-unknown", "font-size": (lane * 0.85).toFixed(1) }),
    };
  }

  /** `known`: false where what was last told may hold no more; then no lamp is drawn lit, and no queue. */
  update(lights, nowMs, known) {
    for (const [name, parts] of this.lanes) {
      const aspect = known ? lights.laneAspect(name) : null;
      set(parts.line, { "data-aspect": aspect ?? "unknown" });
      for (const [colour, lamp] of parts.lamps) set(lamp, { "data-lit": lit(aspect, colour) });
      say(parts.unknown, aspect === null ? "?" : "");
      const queue = known ? lights.queue(name, nowMs) : null;
      say(parts.title, [`${name}: ${words(aspect)}`, queue ? `${queue.n} near` : ""].filter(Boolean).join(", "));
      drawQueue(parts, queue);
    }
    const stage = known ? (lights.stage ?? "") : "";
    const word = stage.length <= LONGEST_WORD ? stage : "";
    say(this.stage, word);
    set(this.stage, { "font-size": Math.min(10, 40 / Math.max(1, word.length)).toFixed(1) });
    set(this.svg, { "aria-label": known ? summary(lights, nowMs) : "The junction from above: how its lights are is not known now" });
  }
}

function lit(aspect, colour) {
  if (aspect === null) return "unknown";
  if (aspect === colour) return "steady";
  return aspect === `flashing_${colour}` ? "flashing" : "no";
}

/** Approaches in order of their angle; those whose names are no points of the compass share the circle evenly. */
function armsOf(lanes) {
  const names = [...new Set(lanes.map((lane) => lane.approach))];
  const points = names.map(angleOf);
  const known = points.every((angle) => angle !== null) && new Set(points).size === points.length;
  return names.map((name, index) => ({
    name,
    angle: known ? points[index] : (index * 360) / names.length,
    lanes: lanes.filter((lane) => lane.approach === name).map((lane) => lane.name),
  }));
}

function angleOf(name) {
  const word = name.trim().toLowerCase().replace(/[\s_-]/g, "");
  const short = word.replace(/(north|east|south|west)(bound)?/g, (_, point) => WORDS[point]);
  return COMPASS[short] ?? null;
}

/** Those who stand, from the line on; behind them those who move, as outlines. */
function drawQueue(parts, queue) {
  const n = queue?.n ?? 0;
  const standing = queue ? Math.min(queue.standing ?? n, n) : 0;
  const text = queue ? String(n) : "";
  say(parts.count, text);
  if (parts.n === n && parts.standing === standing) return;
  parts.n = n;
  parts.standing = standing;
  const cars = Array.from({ length: Math.min(n, parts.room) }, (_, index) => {
    const moves = index >= standing;
    const y = -(index + 1) * CAR.step + (CAR.step - CAR.length) / 2;
    const shape = { x: -CAR.width / 2, y, width: CAR.width, height: CAR.length, rx: CAR.radius };
    return svg("rect", { class: moves ? "car moves" : "car", ...shape });
  });
  parts.cars.replaceChildren(...cars);
}

function summary(lights, nowMs) {
  const heads = [...lights.heads.values()].map((head) => `${head.name ?? `phase ${head.phase}`} ${words(head.aspect)}`);
  const told = [...lights.queues.keys()].map((lane) => [lane, lights.queue(lane, nowMs)]).filter(([, queue]) => queue);
  const queues = told.map(([lane, queue]) => `${queue.n} before ${lane}`);
  return [`The junction from above: ${heads.join(", ") || "nothing is known"}`, queues.join(", ")].filter(Boolean).join("; ");
}

export function words(aspect) {
  return aspect === null ? "not known" : aspect.replaceAll("_", " ");
}
