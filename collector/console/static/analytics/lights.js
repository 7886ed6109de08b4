// Panels that are made of cycles and of the lights' event log.

import { clockIn } from "./range.js";
import { colour, nth, plain, titled } from "./plotly.js";
import { number, percent, rounded, seconds, several } from "./words.js";

const LANE_ROW_PX = 34;
const HOUR_MS = 3_600_000;
const LEAST_HOURS = 12;
/** What is made of the lights' log is told for so many days at once. */
const LOG_DAYS = 31;
const DAY_MS = 86_400_000;

/**
 * Lines of one figure over the hours, a lane (or phase) each. Hours that were not measured, and those that are not
 * told at all, are gaps; an hour between two gaps is a dot.
 */
function overHours(rows, nameOf, valueOf, timezone, words) {
  const byName = new Map();
  for (const row of rows) {
    if (!byName.has(nameOf(row))) byName.set(nameOf(row), []);
    byName.get(nameOf(row)).push(row);
  }
  return [...byName].map(([name, told], index) => {
    const own = withGaps(told);
    return {
      type: "scatter",
      mode: "lines+markers",
      connectgaps: false,
      name: plain(name),
      x: own.map((row) => clockIn(timezone, row.from)),
      y: own.map((row) => (row.isGap ? null : valueOf(row))),
      line: { color: nth(index), width: 2, dash: index < 8 ? "solid" : "dot" },
      marker: { color: nth(index), size: 5 },
      text: own.map((row) => (row.isGap ? "" : words(row))),
      hovertemplate: "%{text}",
    };
  });
}

/** An hour without a value wherever hours are left out. */
function withGaps(rows) {
  return rows.flatMap((row, index) => {
    const before = index > 0 ? Date.parse(rows[index - 1].from) : null;
    if (before === null || Date.parse(row.from) - before <= HOUR_MS) return [row];
    return [{ from: new Date(before + HOUR_MS).toISOString(), isGap: true }, row];
  });
}

/** Of few hours it shows some before and after, or it would have the same hour at several places. */
function hoursAxis(data) {
  const axis = { type: "date", tickformat: "%-d %b<br>%H:%M", hoverformat: "%a %-d %b, %H:%M", nticks: 8, tickangle: 0 };
  const hours = data.flatMap((trace) => trace.x).sort();
  const [first, last] = [hours[0], hours.at(-1)].map((clock) => Date.parse(`${clock.replace(" ", "T")}Z`));
  const spareMs = (LEAST_HOURS * HOUR_MS - (last - first)) / 2;
  if (spareMs > 0) axis.range = [first - spareMs, last + spareMs].map((ms) => new Date(ms).toISOString().slice(0, 16));
  return axis;
}

function barRows(rows, nameOf, traces, layout) {
  const names = rows.map((row) => plain(nameOf(row))).reverse();
  const data = traces.map(({ of, ...trace }) => ({ type: "bar", orientation: "h", y: names, x: rows.map(of).reverse(), ...trace }));
  const { xaxis, ...rest } = layout;
  return { data, layout: { hovermode: "y unified", showlegend: traces.length > 1, xaxis: { showgrid: true, ...xaxis }, yaxis: { showgrid: false, type: "category" }, ...rest } };
}

const laneHeight = (n) => 90 + LANE_ROW_PX * Math.max(n, 2);

export const LANES = {
  id: "lanes",
  title: "Lanes",
  path: "lanes",
  about: "Vehicles per hour in the time that was measured, so that a lane whose camera was away does not look empty.",
  summary({ lanes, basis }) {
    const told = lanes.filter((lane) => lane.vehicles_per_h !== null);
    if (told.length === 0) return "No lane was measured.";
    const busiest = told.reduce((most, lane) => (lane.vehicles_per_h > most.vehicles_per_h ? lane : most));
    const share = busiest.share === null ? "" : `, ${percent(busiest.share)} of all`;
    return `${busiest.lane} carries most: ${number(busiest.vehicles_per_h)} vehicles per hour${share}${basis === "counts" ? " (by counts: there are no cycles)" : ""}.`;
  },
  columns: [
    { label: "Lane", value: (lane) => lane.lane },
    { label: "Approach", value: (lane) => lane.approach },
    { label: "Vehicles", number: true, value: (lane) => lane.vehicles, words: (lane) => number(lane.vehicles) },
    { label: "Per hour", number: true, value: (lane) => rounded(lane.vehicles_per_h, 1), words: (lane) => number(lane.vehicles_per_h) },
    { label: "Share", number: true, value: (lane) => rounded(lane.share), words: (lane) => percent(lane.share) },
    { label: "Per second of green", number: true, value: (lane) => rounded(lane.vehicles_per_green_s), words: (lane) => number(lane.vehicles_per_green_s, 2) },
    { label: "Share measured", number: true, value: (lane) => rounded(lane.measured_share), words: (lane) => percent(lane.measured_share) },
  ],
  rows: ({ lanes }) => lanes,
  height: ({ lanes }) => laneHeight(lanes.length),
  figure({ lanes }) {
    if (!lanes.some((lane) => lane.vehicles_per_h !== null)) return null;
    const trace = { of: (lane) => lane.vehicles_per_h, marker: { color: colour("in") }, hovertemplate: "%{x:,.0f} vehicles per hour<extra></extra>" };
    return barRows(lanes, (lane) => lane.lane, [trace], { xaxis: { title: titled("vehicles per hour") } });
  },
};

export const CYCLES = {
  id: "cycles",
  title: "What became of the cycles' time",
  path: "cycles",
  about: "How much of the time each lane had green, yellow and red.",
  summary(answer) {
    if (answer.cycles === 0) return "The lights told of no cycle.";
    const lost = answer.lost_share === null ? "" : ` Nobody had green or yellow for ${percent(answer.lost_share, 1)} of the time.`;
    return `${several(answer.cycles, "cycle")} of ${seconds(answer.mean_s)} on average, half of them of ${seconds(answer.p50_s)} at most.${lost}`;
  },
  columns: [
    { label: "Lane", value: (lane) => lane.lane },
    { label: "Approach", value: (lane) => lane.approach },
    ...["green", "yellow", "red"].map((name) => ({
      label: name[0].toUpperCase() + name.slice(1),
      number: true,
      value: (lane) => rounded(lane[`${name}_share`]),
      words: (lane) => percent(lane[`${name}_share`], 1),
    })),
  ],
  rows: ({ lanes }) => lanes,
  height: ({ lanes }) => laneHeight(lanes.length),
  figure({ lanes }) {
    if (lanes.length === 0) return null;
    const colours = { green: colour("lamp-green"), yellow: colour("lamp-yellow"), red: colour("lamp-red") };
    const traces = Object.entries(colours).map(([name, painted]) => ({
      name,
      of: (lane) => lane[`${name}_share`],
      marker: { color: painted },
      hovertemplate: `%{x:.1%} ${name}<extra></extra>`,
    }));
    return barRows(lanes, (lane) => lane.lane, traces, { barmode: "stack", xaxis: { tickformat: ".0%", range: [0, 1] } });
  },
};

export const SATURATION = {
  id: "saturation",
  title: "How full the lanes are",
  path: "saturation",
  about: "Vehicles over what the greens could have sent. From 1 on, a lane is full: a queue stays when the green ends.",
  summary({ lanes }) {
    const told = lanes.filter((lane) => lane.saturation !== null);
    if (told.length === 0) return "No cycle was measured.";
    const fullest = told.reduce((most, lane) => (lane.saturation > most.saturation ? lane : most));
    return `${fullest.lane} is fullest: ${percent(fullest.saturation)} on average; full in ${number(fullest.n_saturated)} of ${number(fullest.n_measured)} cycles.`;
  },
  columns: [
    { label: "Lane", value: (lane) => lane.lane },
    { label: "Saturation", number: true, value: (lane) => rounded(lane.saturation), words: (lane) => percent(lane.saturation) },
    { label: "Cycles measured", number: true, value: (lane) => lane.n_measured, words: (lane) => number(lane.n_measured) },
    { label: "Cycles", number: true, value: (lane) => lane.n_cycles, words: (lane) => number(lane.n_cycles) },
    { label: "Full", number: true, value: (lane) => lane.n_saturated, words: (lane) => number(lane.n_saturated) },
  ],
  rows: ({ lanes }) => lanes,
  figure({ lane_hours: hours, junction }) {
    if (!hours.some((each) => each.saturation !== null)) return null;
    const data = overHours(hours, (each) => each.lane, (each) => each.saturation, junction.timezone, (each) => percent(each.saturation));
    const full = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("bad"), width: 1.5, dash: "dash" } };
    return { data, layout: { showlegend: data.length > 1, shapes: [full], xaxis: hoursAxis(data), yaxis: { tickformat: ".0%" } } };
  },
};

export const SPLIT_FAILURES = {
  id: "split-failures",
  title: "Greens that did not serve their queue",
  path: "saturation",
  about: "Split failures: somebody stood before the line for most of the green, and when red had begun.",
  summary({ split_failures: phases, from, to }) {
    if (phases === null && Date.parse(to) - Date.parse(from) > (LOG_DAYS + 0.5) * DAY_MS) return `Told of up to ${LOG_DAYS} days at once.`;
    if (phases === null) return "No lane has a detector that tells who stands there: an approach zone is one.";
    const [n, failed] = ["n_cycles", "n_failures"].map((name) => phases.reduce((sum, phase) => sum + phase[name], 0));
    return n === 0 ? "No green was observed." : `${number(failed)} of ${number(n)} greens, ${percent(failed / n, 1)}.`;
  },
  columns: [
    { label: "Phase", value: (phase) => phase.phase },
    { label: "Movement", value: (phase) => phase.movement },
    { label: "Greens", number: true, value: (phase) => phase.n_cycles, words: (phase) => number(phase.n_cycles) },
    { label: "Failed", number: true, value: (phase) => phase.n_failures, words: (phase) => number(phase.n_failures) },
    { label: "Occupied in green", number: true, value: (phase) => rounded(phase.green_occupancy), words: (phase) => percent(phase.green_occupancy) },
    { label: "Occupied in red", number: true, value: (phase) => rounded(phase.red_occupancy), words: (phase) => percent(phase.red_occupancy) },
  ],
  rows: ({ split_failures: phases }) => phases ?? [],
  figure({ split_failure_hours: hours, junction }) {
    const told = (hours ?? []).filter((each) => each.n_cycles > 0);
    if (told.length === 0) return null;
    const share = (each) => (each.n_cycles ? each.n_failures / each.n_cycles : null);
    const data = overHours(hours, phaseName, share, junction.timezone, (each) => `${each.n_failures} of ${each.n_cycles}`);
    return { data, layout: { showlegend: data.length > 1, xaxis: hoursAxis(data), yaxis: { tickformat: ".0%" } } };
  },
};

/** Whether it is known when vehicles come. Who stood in a queue passes the line on green, whenever they came. */
const comes = (phase) => phase.share !== null && phase.detector === "advance";

export const ARRIVALS = {
  id: "arrivals",
  title: "Arrivals on green",
  path: "arrivals",
  mostDays: LOG_DAYS,
  about: "Who came when it was green, beside how much of the time was green: more of the first than of the second is coordination that works.",
  summary({ phases }) {
    const told = phases.filter(comes);
    if (told.length === 0) return "No detector ahead of the stop line tells when vehicles come. At the line nearly all pass on green.";
    const [n, green] = ["n", "n_on_green"].map((name) => told.reduce((sum, phase) => sum + phase[name], 0));
    return `${percent(green / n)} of ${number(n)} vehicles came on green.`;
  },
  columns: [
    { label: "Phase", value: (phase) => phase.phase },
    { label: "Movement", value: (phase) => phase.movement },
    { label: "Detector", value: (phase) => phase.detector, words: (phase) => ({ advance: "ahead of the line", stop_line: "at the line" })[phase.detector] ?? "none" },
    { label: "Arrivals", number: true, value: (phase) => phase.n, words: (phase) => number(phase.n) },
    { label: "On green", number: true, value: (phase) => rounded(phase.share), words: (phase) => percent(phase.share) },
    { label: "Time green", number: true, value: (phase) => rounded(phase.green_share), words: (phase) => percent(phase.green_share) },
    { label: "Platoon ratio", number: true, value: (phase) => rounded(phase.platoon_ratio, 2), words: (phase) => number(phase.platoon_ratio, 2) },
  ],
  rows: ({ phases }) => phases,
  height: ({ phases }) => laneHeight(phases.length * 1.4),
  figure({ phases }) {
    const told = phases.filter(comes);
    if (told.length === 0) return null;
    const traces = [
      { name: "time that was green", of: (phase) => phase.green_share, marker: { color: colour("hatch") }, hovertemplate: "%{x:.0%} of the time green<extra></extra>" },
      { name: "arrivals on green", of: (phase) => phase.share, marker: { color: colour("lamp-green") }, hovertemplate: "%{x:.0%} of arrivals on green<extra></extra>" },
    ];
    return barRows(told, phaseName, traces, { barmode: "group", xaxis: { tickformat: ".0%", range: [0, 1] } });
  },
};

export const WAITS = {
  id: "waits",
  title: "Waits",
  path: "waits",
  about: "How long one waits, on average. An estimate: nobody is followed.",
  summary({ lanes }) {
    const told = lanes.filter((lane) => lane.wait_s !== null);
    const nobody = lanes.some((lane) => lane.n === 0);
    if (told.length === 0 && nobody) return "No vehicle was seen to leave, and so no wait is known.";
    if (told.length === 0) return "Nothing is known of waits: neither approach zones nor cycles tell.";
    const longest = told.reduce((most, lane) => (lane.wait_s > most.wait_s ? lane : most));
    return `Longest at ${longest.lane}: ${seconds(longest.wait_s)} on average, ${longest.method === "little" ? "by its approach zone" : "by its cycles"}.`;
  },
  columns: [
    { label: "Lane", value: (lane) => lane.lane },
    { label: "Wait (s)", number: true, value: (lane) => rounded(lane.wait_s, 1), words: (lane) => seconds(lane.wait_s, 1) },
    { label: "Vehicles", number: true, value: (lane) => lane.n, words: (lane) => number(lane.n) },
    { label: "By", value: (lane) => lane.method, words: (lane) => ({ little: "approach zone", webster: "cycles" })[lane.method] ?? "nothing" },
    { label: "Hours measured", number: true, value: (lane) => rounded(lane.measured_s / 3600, 1) },
  ],
  rows: ({ lanes }) => lanes,
  figure({ hours, junction }) {
    if (!hours.some((each) => each.wait_s !== null)) return null;
    const data = overHours(hours, (each) => each.lane, (each) => each.wait_s, junction.timezone, (each) => seconds(each.wait_s, 1));
    return { data, layout: { showlegend: data.length > 1, xaxis: hoursAxis(data), yaxis: { ticksuffix: "\u202fs" } } };
  },
};

function phaseName(phase) {
  return phase.movement ?? `phase ${phase.phase}`;
}

