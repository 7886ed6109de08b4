// What the page of a junction asks of the collector, brought into the shape of its model.

import { ms } from "../shell/format.js";
import { MINUTES } from "./model.js";

const MINUTE_MS = 60_000;
const CYCLES = 8;
/** The page of what stands at no junction. */
export const NOWHERE = "none";

export class Store {
  /** `ask` as a page's context has it. */
  constructor(ask, id) {
    this.ask = ask;
    this.id = id;
    this.path = `/api/junctions/${encodeURIComponent(id)}`;
    this.aheadMs = 0;
  }

  /** The collector's clock, in ms since 1970: what it counted is told by its time, not by this computer's. */
  now() {
    return Date.now() + this.aheadMs;
  }

  /** What and where the junction is, and what the user may there; null: there is none, or none that they may see. */
  async summary() {
    if (this.id === NOWHERE) return { id: NOWHERE, name: "Without a junction", has_lights: false, access: "read" };
    try {
      const { location, ...rest } = await this.ask(this.path);
      return { ...rest, location: location?.address ?? location?.name ?? null };
    } catch (error) {
      if (error.status !== 404) throw error;
      return null;
    }
  }

  /** All that the page shows; see `Model.settle`. */
  async read(junction) {
    const now = this.now();
    const where = this.id === NOWHERE ? {} : { junction: this.id };
    const [day, hour, lights] = await Promise.all([
      this.#counts({ ...where, bucket: "1d", from: iso(now - 1000), to: iso(now) }),
      this.#counts({ ...where, bucket: "1m", from: iso(now - (MINUTES - 1) * MINUTE_MS), to: iso(now) }),
      junction.has_lights ? this.lights() : null,
    ]);
    this.aheadMs = Date.parse(day.as_of) - Date.now();
    const own = ({ source }) => this.id !== NOWHERE || source.junction === null;
    const [today, minutes] = [day.sources.filter(own), hour.sources.filter(own)];
    return {
      junction: { ...junction, ...dayOf(today, junction) },
      sources: today.map(asSource),
      lights,
      today: today.flatMap(({ source, buckets }) =>
        (buckets.at(-1)?.counts ?? []).map((row) => ({ source: source.id, cls: row.class, direction: row.direction, n: row.n })),
      ),
      minutes: minutes.flatMap(({ source, buckets }) =>
        buckets.flatMap((bucket) =>
          bucket.counts.map((row) => ({
            source: source.id,
            minute: Date.parse(bucket.from),
            direction: row.direction,
            n: row.n,
          })),
        ),
      ),
      measured: minutes.flatMap(({ source, buckets }) =>
        buckets.map((bucket) => ({
          source: source.id,
          minute: Date.parse(bucket.from),
          ms: bucket.measured_s === null ? null : bucket.measured_s * 1000,
        })),
      ),
      unmeasured: today.filter(({ buckets }) => buckets.at(-1)?.n === null).map(({ source }) => source.id),
      pendingMinutes: day.exact && hour.exact ? 0 : Math.max(day.pending_minutes, hour.pending_minutes),
    };
  }

  async #counts(query) {
    try {
      return await this.ask("/api/counts", { query });
    } catch (error) {
      if (error.status !== 404) throw error;
      return { as_of: query.to, exact: true, pending_minutes: 0, sources: [] }; // Nothing counts here yet.
    }
  }

  /** See `Lights.settle`. */
  async lights() {
    const [signals, page] = await Promise.all([
      this.ask(`${this.path}/signals`),
      this.ask(`${this.path}/cycles`, { query: { limit: CYCLES } }),
    ]);
    return {
      any: true,
      description: signals.description,
      heads: signals.movements.map((head) => ({
        phase: head.phase,
        name: head.movement,
        aspect: head.aspect,
        since: ms(head.since),
      })),
      mode: signals.mode,
      flash: signals.flash,
      plan: signals.plan,
      algorithm: signals.algorithm,
      heardAt: ms(signals.last_at),
      queues: signals.queues.map(({ lane, n, standing, at }) => [lane, { n, standing, at: ms(at) }]),
      cycles: page.cycles.map((cycle) => asCycle(cycle, ms(cycle.at))),
    };
  }
}

/** A cycle as the page keeps it, from the store or told live. */
export function asCycle(cycle, at) {
  const lane = (told) => ({ vehicles: told.vehicles, greenS: told.green_s, saturation: told.saturation });
  return {
    key: `${cycle.device} ${at}`,
    at,
    lengthS: cycle.length_s,
    mode: cycle.mode,
    algorithm: cycle.algorithm,
    lanes: new Map(cycle.lanes.map((told) => [told.lane, lane(told)])),
  };
}

/** When the day began there and ends, and by whose clock. */
function dayOf(today, junction) {
  const day = today[0]?.buckets.at(-1);
  const timezone = junction.timezone ?? today[0]?.source.timezone ?? "UTC";
  return { timezone, dayStart: day ? Date.parse(day.from) : 0, dayEnd: day ? Date.parse(day.to) : 0 };
}

function asSource({ source, received_at: receivedAt }) {
  return {
    id: source.id,
    name: source.name,
    kind: source.kind,
    via: source.via,
    sensor: source.sensor,
    device: source.device.id,
    deviceName: source.device.name,
    heardAt: ms(receivedAt),
  };
}

function iso(at) {
  return new Date(at).toISOString();
}
