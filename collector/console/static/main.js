// The page's root: reads the store, follows the live counts, and draws what both say.

import { asCycle, collectorNow, readLights, readStore } from "./api.js";
import * as format from "./format.js";
import { follow, Problem } from "./live.js";
import { Model } from "./model.js";
import { Session, SignInNeeded } from "./session.js";
import { View } from "./view.js";

const READ_EVERY_MS = 15_000;
const SOON_MS = 1500;
const LIGHTS_SOON_MS = 200;
/** A connection that stays away so long is no hiccup: what is shown is old. */
const STOPPED_AFTER_MS = 6000;

const model = new Model();
const view = new View();
const link = { open: false, lostAt: Date.now(), everOpen: false };

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    view.render(model, collectorNow(), isStopped() ? link.lostAt : null);
    drawLink();
  });
}

function isStopped() {
  return !link.open && Date.now() - link.lostAt >= STOPPED_AFTER_MS;
}

function drawLink() {
  if (link.open) view.link("live", "live");
  else if (!link.everOpen && Date.now() - link.lostAt < STOPPED_AFTER_MS) view.link("connecting", "connecting");
  else if (Date.now() - link.lostAt < STOPPED_AFTER_MS) view.link("reconnecting", "reconnecting");
  else view.link("stopped", `data stopped since ${format.clock(link.lostAt)}`);
}

let reading = null;
/** Read the store; while a reading is under way, another is made after it. */
function read() {
  if (reading) {
    reading.again = true;
    return;
  }
  const mine = { again: false };
  reading = mine;
  const askedAt = performance.now();
  readStore()
    .then((answer) => {
      model.settle(answer, askedAt);
      view.notice(model.pendingMinutes > 0 ? catchingUp(model.pendingMinutes) : null);
    })
    .catch((error) => {
      if (error instanceof SignInNeeded) session.ask();
      if (error instanceof Problem) view.notice(error.message);
      // A network that is away is told by the link.
    })
    .finally(() => {
      reading = null;
      draw();
      if (mine.again) read();
    });
}

function catchingUp(minutes) {
  return `The collector is catching up: ${format.count(minutes)} minutes or more are not in these sums yet.`;
}

let soon = null;
function readSoon() {
  soon ??= setTimeout(() => {
    soon = null;
    read();
  }, SOON_MS);
}

/** Something changed for a whole junction: ask what its lights show now. Several such changes are one question. */
const asking = new Set();
function readLightsSoon(id) {
  if (asking.has(id)) return;
  asking.add(id);
  setTimeout(() => {
    asking.delete(id);
    readLights(id)
      .then((reading) => model.settleLights(reading))
      .catch(() => {}) // The next reading of the store tells.
      .finally(draw);
  }, LIGHTS_SOON_MS);
}

const told = {
  count(data) {
    if (!model.count(data, performance.now())) readSoon();
  },
  signal(data) {
    const lights = model.lights.get(data.junction);
    if (!lights) readSoon();
    else if (!lights.signal(data)) readLightsSoon(data.junction);
  },
  cycle(data) {
    model.lights.get(data.junction)?.cycle(asCycle(data, data.at));
  },
  occupancy(data) {
    model.lights.get(data.junction)?.occupancy(data);
  },
  reset: read,
};

const live = follow("/api/live", {
  opened() {
    link.open = true;
    link.everOpen = true;
    read();
    draw();
  },
  event(kind, data) {
    told[kind]?.(data);
    draw();
  },
  lost(problem) {
    if (link.open) link.lostAt = Date.now();
    link.open = false;
    if (problem instanceof SignInNeeded) session.ask();
    else if (problem) view.notice(problem.message);
    draw();
  },
});

const session = new Session(() => {
  live.retry();
  read();
});
session.show();

setInterval(() => {
  if (document.visibilityState === "visible" && link.open) read();
}, READ_EVERY_MS);
setInterval(draw, 1000);
addEventListener("online", () => live.retry());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState !== "visible") return;
  live.retry();
  read();
});
