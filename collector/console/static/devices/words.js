// What is wrong with a device, in plain words, and what to do about it.

import * as format from "../shell/format.js";

const HOT_C = 80;
const LITTLE_DISK_MB = 1000;
const MUCH_MEMORY_PERCENT = 92;
const MANY_WAITING = 5000;
const CLOCK_OFF_MS = 1000;

/** The states that the API tells, as `state` marks them and as people read them. */
export const STATES = {
  healthy: { mark: "good", words: "healthy" },
  warning: { mark: "fair", words: "not heard lately" },
  critical: { mark: "bad", words: "silent" },
  never: { mark: "never", words: "never heard" },
};

const SENSORS = {
  unreachable: ["cannot be reached", "Check its power, cable and address; the agent tries again by itself."],
  frozen: ["shows the same picture for ever", "Restart the camera. What passes meanwhile is not counted."],
  black: ["shows nothing but black", "Look whether its lens is covered, or its light is gone."],
  failed: ["cannot be read: its model fails", "The Pi's log tells why: journalctl -u stopline-agent."],
  slow: [
    "is looked at less than once a second, and nobody can be followed",
    "Give it a smaller model or a smaller input for it, or the Pi fewer cameras. It is not counted as measured.",
  ],
  paused: ["is paused", "It counts again when it is resumed on the Pi."],
  starting: ["is starting", "Give it a minute."],
};

const REASONS = {
  agent_down: "The agent did not run",
  camera_down: "The camera could not be reached",
  camera_frozen: "The camera showed the same picture for ever",
  camera_black: "The picture was black",
  model_failed: "The model failed",
  paused: "Counting was paused",
  outbox_full: "The outbox was full",
  outbox_corrupt: "The outbox was damaged",
  disk_error: "The disk failed",
  collector_lost: "The collector's database was put back to an older state",
  too_large: "A record was too large to be taken in",
  reader_down: "The tag reader did not answer",
  too_slow: "Too few pictures were looked at to follow anybody",
};

export const REJECTS = {
  malformed: "It is not a record as the collector knows them: agent and collector are of different releases, or the agent has a defect.",
  unknown_kind: "This collector does not know the kind yet. After an upgrade of the collector it can be taken in again.",
  time_implausible: "Its time cannot be right. Look at the clock of the device.",
  not_storable: "The database refused it.",
};

/**
 * All that is wrong with a device, worst first: [{mark: "bad"|"fair"|"never", words, mend, isState}]. `device` is
 * as the API tells it; `isState`: it is what its state says.
 */
export function troubles(device, nowMs) {
  const found = [
    contact(device, nowMs),
    !device.adds_up && {
      mark: "bad",
      words: "Records are unaccounted for",
      mend: "What it numbered was neither stored, put aside nor told as lost. Run stopline-collector doctor.",
    },
    ...device.sensors.map((sensor) => sensorTrouble(sensor)),
    device.lost_last_day > 0 && {
      mark: "bad",
      words: `${format.plural(device.lost_last_day, "record")} lost in the last day`,
      mend: "The gaps below tell which, and why.",
    },
    device.rejects_open > 0 && {
      mark: "fair",
      words: `${format.plural(device.rejects_open, "record")} put aside`,
      mend: "They came, and could not be stored. Read why below; then mark them as seen.",
    },
    ...machine(device),
  ].filter(Boolean);
  const rank = { bad: 0, never: 1, fair: 2 };
  return found.sort((a, b) => rank[a.mark] - rank[b.mark]);
}

function contact(device, nowMs) {
  const found = contactOf(device, nowMs);
  return found && { ...found, isState: true };
}

function contactOf(device, nowMs) {
  if (device.status === "revoked") {
    return { mark: "never", words: "Revoked", mend: "Nothing is taken in from it. Enrolled again, it may send again." };
  }
  if (device.state === "never") {
    return {
      mark: "never",
      words: "Never heard",
      mend: "On the Pi, stopline-agent check tells what stands between it and the collector.",
    };
  }
  if (device.state === "healthy") return null;
  const silent = since(device.received_at, nowMs);
  if (device.state === "warning") {
    return { mark: "fair", words: `Not heard for ${silent}`, mend: "It may be restarting, or its network is weak." };
  }
  return {
    mark: "bad",
    words: `Silent for ${silent}`,
    mend: "Check its power and network. What it counts it keeps, and sends when it is back.",
  };
}

function sensorTrouble(sensor) {
  if (sensor.state === "ok") return null;
  const [words, mend] = SENSORS[sensor.state] ?? [`is ${sensor.state}`, "The Pi's log tells more: journalctl -u stopline-agent."];
  return { mark: sensor.state === "starting" ? "fair" : "bad", words: `${sensor.name} ${words}`, mend };
}

function machine(device) {
  const { clock, outbox, temperature_c: celsius, disk_free_mb: free, memory_percent: memory } = device;
  return [
    clock !== null && (!clock.synced || (clock.error_ms ?? 0) > CLOCK_OFF_MS) && {
      mark: "fair",
      words: clock.error_ms === null ? "Its clock is not synchronised" : `Its clock may be off by ${format.duration(clock.error_ms)}`,
      mend: "Let it reach a time server: timedatectl on the Pi tells which.",
    },
    outbox !== null && outbox.records > MANY_WAITING && {
      mark: "fair",
      words: `${format.plural(outbox.records, "record")} wait to be sent`,
      mend: "It catches up by itself. Where the number keeps growing, its line is too slow.",
    },
    celsius !== null && celsius >= HOT_C && {
      mark: "fair",
      words: `Hot: ${Math.round(celsius)}\u202f\u00b0C`,
      mend: "It slows down to cool itself. Give it air, shade or a heat sink.",
    },
    free !== null && free < LITTLE_DISK_MB && {
      mark: "fair",
      words: `Only ${format.count(Math.round(free))}\u202fMB of its disk are free`,
      mend: "Make room: without it the outbox cannot keep what is counted.",
    },
    memory !== null && memory >= MUCH_MEMORY_PERCENT && {
      mark: "fair",
      words: `${Math.round(memory)}\u202f% of its memory are used`,
      mend: "A smaller model or fewer cameras need less.",
    },
    device.throttled && {
      mark: "fair",
      words: `Its firmware complains: ${device.throttled}`,
      mend: "Under-voltage means that its power supply is too weak.",
    },
  ];
}

/** A gap in words: why, and what is missing for how long. */
export function gapInWords(gap) {
  const why = REASONS[gap.reason] ?? gap.reason.replaceAll("_", " ");
  const whose = gap.sensor ? ` (${gap.sensor})` : "";
  const long = format.duration(gap.duration_ms);
  if (gap.from_seq === null) return `${why}${whose}: not measured for ${long}.`;
  return `${why}${whose}: ${format.plural(gap.seq - gap.from_seq + 1, "record")} of ${long} lost.`;
}

/** How long ago, as text: days where hours would be many. */
export function since(iso, nowMs) {
  const ms = nowMs - Date.parse(iso);
  const days = Math.floor(ms / 86_400_000);
  return days < 3 ? format.duration(ms) : `${format.count(days)}\u202fdays`;
}
