// What the page asks of the collector, brought into the shape of its model.

import { problemOf } from "./live.js";
import { MINUTES } from "./model.js";
import { reach } from "./session.js";

const MINUTE_MS = 60_000;
const PATIENCE_MS = 15_000;
const MOST_DEVICES = 1000;
const MOST_JUNCTIONS = 1000;
/** Each is a request or two. */
const MOST_LIGHTS = 12;
const CYCLES = 6;
const NOWHERE = { id: "", name: "Without a junction" };

let aheadMs = 0;

/** The collector's clock, in ms since 1970: what it counted is told by its time, not by this computer's. */
export function collectorNow() {
  return Date.now() + aheadMs;
}

/** Read what the page shows; see `Model.settle`. */
export async function readStore() {
  const now = collectorNow();
  const [today, hour, completeness, lit] = await Promise.all([
    ask("/api/counts", { bucket: "1d", from: iso(now - 1000), to: iso(now) }),
    ask("/api/counts", { bucket: "1m", from: iso(now - (MINUTES - 1) * MINUTE_MS), to: iso(now) }),
    ask("/api/fleet/completeness", { limit: MOST_DEVICES }),
    readAllLights(),
  ]);
  aheadMs = Date.parse(today.as_of) - Date.now();
  const { junctions, sources } = places(today);
  const known = new Set(junctions.map((junction) => junction.id));
  return {
    junctions: [...junctions, ...lit.junctions.filter((junction) => !known.has(junction.id))],
    sources,
    lights: lit.lights,
    today: today.sources.flatMap(({ source, buckets }) =>
      (buckets.at(-1)?.counts ?? []).map((row) => ({
        source: source.id,
        cls: row.class,
        direction: row.direction,
        n: row.n,
      })),
    ),
    minutes: hour.sources.flatMap(({ source, buckets }) =>
      buckets.flatMap((bucket) =>
        bucket.counts.map((row) => ({
          source: source.id,
          minute: Date.parse(bucket.from),
          direction: row.direction,
          n: row.n,
        })),
      ),
    ),
    measured: hour.sources.flatMap(({ source, buckets }) =>
      buckets.map((bucket) => ({
        source: source.id,
        minute: Date.parse(bucket.from),
        ms: bucket.measured_s === null ? null : bucket.measured_s * 1000,
      })),
    ),
    devices: completeness.devices.filter((device) => device.streams.length > 0).map(proof),
    pendingMinutes: today.exact && hour.exact ? 0 : Math.max(today.pending_minutes, hour.pending_minutes),
  };
}

/** The lights of those junctions that have any, and these junctions. */
async function readAllLights() {
  const { junctions } = await ask("/api/junctions", { limit: MOST_JUNCTIONS });
  const lit = junctions.filter((junction) => junction.has_lights).slice(0, MOST_LIGHTS);
  const lights = await Promise.all(lit.map((junction) => readLights(junction.id)));
  return { junctions: lit.map(({ id, name, timezone }) => ({ id, name, timezone, dayStart: 0, dayEnd: 0 })), lights };
}

/** The lights of one junction; see `Lights.settle`. */
export async function readLights(id) {
  const path = `/api/junctions/${encodeURIComponent(id)}`;
  const [signals, page] = await Promise.all([ask(`${path}/signals`, {}), ask(`${path}/cycles`, { limit: CYCLES })]);
  return {
    id,
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

/** Sources, the junctions they stand at, and when the day began there. */
function places(today) {
  const junctions = new Map();
  const sources = today.sources.map(({ source, buckets }) => {
    const junction = source.junction ?? NOWHERE;
    const day = buckets.at(-1);
    junctions.set(junction.id, {
      ...junction,
      timezone: source.timezone,
      dayStart: Date.parse(day.from),
      dayEnd: Date.parse(day.to),
    });
    return {
      id: source.id,
      name: source.name,
      kind: source.kind,
      via: source.via,
      sensor: source.sensor,
      junction: junction.id,
      device: source.device.id,
      deviceName: source.device.name,
    };
  });
  return { junctions: [...junctions.values()], sources };
}

/** What a device made, summed over its streams, and what became of it. */
function proof(device) {
  const sum = (name) => device.streams.reduce((total, stream) => total + stream[name], 0);
  return {
    id: device.id,
    name: device.name,
    made: sum("last_seq"),
    stored: sum("stored"),
    rejected: sum("rejected"),
    lost: sum("lost"),
    addsUp: device.adds_up,
    heardAt: Math.max(...device.streams.map((stream) => Date.parse(stream.last_received_at))),
  };
}

async function ask(path, query) {
  const url = new URL(path, location.origin);
  url.search = new URLSearchParams(query);
  const response = await reach(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw await problemOf(response);
  return response.json();
}

function iso(ms) {
  return new Date(ms).toISOString();
}

function ms(iso) {
  return iso === null ? null : Date.parse(iso);
}
