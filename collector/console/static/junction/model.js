// What is known of one junction, kept apart from how it looks. Nothing here touches the document or the network.

import { Lights } from "./lights.js";
import { Tally } from "./tally.js";

export const MINUTES = 60;
const MINUTE_MS = 60_000;
const KEPT_CROSSINGS = 14;
const PERSON = "person";
/** A minute's coverage comes in blocks of ten seconds and is summed up after that. */
const GRACE_MS = 30_000;

export class Model {
  constructor() {
    /** {id, name, timezone, dayStart, dayEnd} */
    this.junction = null;
    /** id -> {id, device, deviceName, sensor, name, via, kind, heardAt} */
    this.sources = new Map();
    this.today = new Map();
    this.minutes = new Map();
    this.measured = new Map();
    /** Ids of those of which nothing was measured since midnight. */
    this.unmeasured = new Set();
    this.crossings = [];
    this.lights = new Lights();
    /** Minutes that are not in the sums yet, since too many changed at once. */
    this.pendingMinutes = 0;
    this.read = false;
  }

  /**
   * Take in a reading of the store.
   *
   * @param {object} reading `junction` and `sources` as above; `today`: [{source, cls, direction, n}]; `minutes`:
   *   [{source, minute, direction, n}]; `measured`: [{source, minute, ms}], ms null where it cannot be told;
   *   `unmeasured`: the sources of which nothing was measured today; `lights`: null where it has none.
   */
  settle(reading, askedAt) {
    this.junction = reading.junction;
    this.sources = new Map(reading.sources.map((source) => [source.id, source]));
    settleAll(this.today, reading.today, (row) => key(row.source, row.cls, row.direction), askedAt);
    settleAll(this.minutes, reading.minutes, (row) => key(row.source, row.minute, row.direction), askedAt);
    this.measured = new Map(reading.measured.map((row) => [key(row.source, row.minute), row.ms]));
    this.unmeasured = new Set(reading.unmeasured);
    if (reading.lights) this.lights.settle(reading.lights);
    this.pendingMinutes = reading.pendingMinutes;
    this.read = true;
  }

  /** One live count. False: it is of a source that is not known yet, so the store should be read anew. */
  count(count, now) {
    const source = this.sources.get(count.source_id);
    if (!["truth", "turn", "unpaired"].includes(count.via)) this.#remember(count);
    if (!source) return false;
    if (count.at >= this.junction.dayStart && count.at < this.junction.dayEnd) {
      tally(this.today, key(source.id, count.cls, count.direction)).add(now);
      this.unmeasured.delete(source.id);
    }
    const minute = Math.floor(count.at / MINUTE_MS) * MINUTE_MS;
    tally(this.minutes, key(source.id, minute, count.direction)).add(now);
    return true;
  }

  /** Keep the latest crossings, newest first. What was late on its way goes where it belongs. */
  #remember(count) {
    const older = this.crossings.findIndex((other) => other.at <= count.at);
    this.crossings.splice(older === -1 ? this.crossings.length : older, 0, count);
    this.crossings.length = Math.min(this.crossings.length, KEPT_CROSSINGS);
  }

  /** What is counted, each with its simulator's truth where there is one, in order of names. */
  lines() {
    const truths = new Map();
    for (const source of this.sources.values()) {
      if (source.via === "truth") truths.set(place(source), source);
    }
    // Zones before a stop line are drawn with the lights.
    const isQueue = (source) => source.kind === "zone" && this.lights.isApproach(source.sensor, source.name);
    const counted = [...this.sources.values()].filter((source) => source.via !== "truth" && !isQueue(source));
    const by = (source) => [source.deviceName, source.sensor, source.name];
    return counted
      .sort((a, b) => compare(by(a), by(b)))
      .map((source) => ({ source, truth: truths.get(place(source)) ?? null }));
  }

  /** Vehicles that crossed a lane's stop line since midnight; null: nothing was measured. A camera goes before tags. */
  laneToday(lane) {
    const told = this.lights.stopLines(lane).flatMap((one) =>
      [...this.sources.values()].filter((source) => source.sensor === one.sensor && source.name === one.source),
    );
    const source = told.find((one) => one.via === "camera") ?? told.find((one) => one.via !== "truth");
    if (!source || this.unmeasured.has(source.id)) return null;
    const vehicles = [...this.totals(source).classes].filter(([cls]) => cls !== PERSON);
    return vehicles.flatMap(([, directions]) => [...directions.values()]).reduce((sum, n) => sum + n, 0);
  }

  /** Today's counts of a source: {measured, total: Map(direction -> n), classes: Map(class -> Map(direction -> n))}. */
  totals(source) {
    const total = new Map();
    const classes = new Map();
    for (const [id, one] of this.today) {
      const [owner, cls, direction] = JSON.parse(id);
      if (owner !== source.id || one.shown === 0) continue;
      total.set(direction, (total.get(direction) ?? 0) + one.shown);
      if (!classes.has(cls)) classes.set(cls, new Map());
      classes.get(cls).set(direction, one.shown);
    }
    return { measured: !this.unmeasured.has(source.id), total, classes };
  }

  /** The last hour, oldest minute first: [{minute, in, out, none, measured}]; `measured` is a share, or null. */
  lastHour(source, nowMs) {
    const newest = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
    return Array.from({ length: MINUTES }, (_, index) => {
      const minute = newest - (MINUTES - 1 - index) * MINUTE_MS;
      const n = (direction) => this.minutes.get(key(source.id, minute, direction))?.shown ?? 0;
      const ms = this.measured.get(key(source.id, minute));
      const settled = nowMs > minute + MINUTE_MS + GRACE_MS;
      const measured = !settled || ms === null ? null : Math.min(1, (ms ?? 0) / MINUTE_MS);
      return { minute, in: n("in"), out: n("out"), none: n("none"), measured };
    });
  }
}

/** Counted classes can be set beside the truth's only where the model tells any. */
export function tellsClasses(classes) {
  return [...classes.keys()].some((cls) => cls !== "object");
}

function place(source) {
  return key(source.device, source.sensor, source.name);
}

function key(...parts) {
  return JSON.stringify(parts);
}

function compare(a, b) {
  for (let i = 0; i < a.length; i += 1) {
    const order = a[i].localeCompare(b[i], undefined, { numeric: true });
    if (order) return order;
  }
  return 0;
}

function tally(map, id) {
  if (!map.has(id)) map.set(id, new Tally());
  return map.get(id);
}

/** Settle every number on what was read; what was read nowhere is 0 in the store, and is forgotten when it is 0. */
function settleAll(map, rows, idOf, askedAt) {
  const stored = new Map();
  for (const row of rows) stored.set(idOf(row), (stored.get(idOf(row)) ?? 0) + row.n);
  for (const id of stored.keys()) tally(map, id);
  for (const [id, one] of map) {
    one.settle(stored.get(id) ?? 0, askedAt);
    if (one.shown === 0 && one.young.length === 0) map.delete(id);
  }
}
