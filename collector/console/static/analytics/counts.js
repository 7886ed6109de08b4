// Panels that are made of counts: days, the week's hours, before and after a change.

import { clockIn } from "./range.js";
import { colour, shade, titled } from "./plotly.js";
import { hour, number, partly, percent, rounded, several, shortDate, signed, WEEKDAYS, WHOLE } from "./words.js";

const HOURS = 24;
const DAY_MS = 86_400_000;

export const DAYS = {
  id: "days",
  title: "Vehicles by day",
  path: "daily",
  about: "Vehicles, and no people, that passed the stop lines. What the list of junctions tells of today is all that crossed any line. A day that was not measured has no bar; one that was measured in part is hatched.",
  summary({ days, lines, as_of: asOf }) {
    const measured = days.filter((day) => day.vehicles !== null);
    if (measured.length === 0) return "No day was measured.";
    const whole = measured.filter((day) => isWhole(day) && Date.parse(day.to) <= Date.parse(asOf));
    const [sum, ofWhole] = [measured, whole].map((some) => some.reduce((total, day) => total + day.vehicles, 0));
    const missing = days.length - measured.length;
    // What a day carries is told by those that are over and were measured in full: others would make it seem less.
    const which = whole.length < measured.length ? ` of ${several(whole.length, "day")} measured in full` : "";
    const mean = whole.length ? `, ${number(ofWhole / whole.length)} a day on average${which}` : "; no day was measured in full";
    return `${several(sum, "vehicle")} on ${several(measured.length, "day")}${mean}${missing ? `; ${missing} not measured` : ""}.${partly(lines)}`;
  },
  columns: [
    { label: "Day", value: (day) => day.date, words: (day) => shortDate(day.date) },
    { label: "Vehicles", number: true, value: (day) => day.vehicles, words: (day) => number(day.vehicles) },
    { label: "People", number: true, value: (day) => day.people, words: (day) => number(day.people) },
    { label: "Share measured", number: true, value: (day) => rounded(day.measured_share), words: (day) => measuredInWords(day) },
    { label: "Not measured", value: (day) => day.unmeasured.join("; ") || null },
    { label: "Cycles", number: true, value: (day) => day.cycles, words: (day) => number(day.cycles) },
    { label: "Mean cycle (s)", number: true, value: (day) => rounded(day.mean_cycle_s, 1), words: (day) => number(day.mean_cycle_s, 1) },
    { label: "Saturation", number: true, value: (day) => rounded(day.saturation), words: (day) => percent(day.saturation) },
    { label: "Orders by hand", number: true, value: (day) => day.overrides },
  ],
  rows: ({ days }) => days,
  figure({ days }) {
    if (days.every((day) => day.vehicles === null)) return null;
    const told = days.filter((day) => day.vehicles !== null);
    const inPart = { color: shade(0.45), pattern: { shape: "/", fgcolor: colour("in"), fillmode: "overlay", size: 7, solidity: 0.25 } };
    return {
      data: [
        dayBars(told.filter(isWhole), { color: colour("in") }),
        dayBars(told.filter((day) => !isWhole(day)), inPart),
        missingDays(days),
      ],
      layout: { barmode: "overlay", xaxis: { type: "date", tickformat: "%-d %b", hoverformat: "%a %-d %b %Y" } },
    };
  },
};

/** Where nobody tells how much was measured, as of tags, it is taken to be all. */
function isWhole(day) {
  return day.measured_share === null || day.measured_share >= WHOLE;
}

function dayBars(days, marker) {
  return {
    type: "bar",
    x: days.map((day) => day.date),
    y: days.map((day) => day.vehicles),
    width: 0.75 * DAY_MS,
    marker,
    text: days.map((day) => `${number(day.vehicles)} vehicles, measured: ${measuredInWords(day)}${day.unmeasured.length ? `<br>not measured at all: ${several(day.unmeasured.length, "line")}` : ""}`),
    textposition: "none",
    hovertemplate: "%{text}<extra></extra>",
  };
}

/** A mark on the axis for each day that was not measured, so that a gap is told and not only empty. */
function missingDays(days) {
  const missing = days.filter((day) => day.vehicles === null);
  return {
    type: "scatter",
    mode: "markers",
    x: missing.map((day) => day.date),
    y: missing.map(() => 0),
    marker: { symbol: "x-thin", size: 9, line: { width: 2, color: colour("bad") } },
    hovertemplate: "not measured<extra></extra>",
    cliponaxis: false,
  };
}

function measuredInWords(day) {
  return day.measured_share === null ? "not known" : percent(day.measured_share, day.measured_share > 0.99 && day.measured_share < 1 ? 1 : 0);
}

export const WEEK = {
  id: "week",
  title: "The week by hours",
  path: "peak-hours",
  about: "Vehicles per hour, mean over the hours that were measured at all lines. Hatched hours were not.",
  summary({ peak, junction, hours_of_week: hours, lines }) {
    const most = Math.max(...hours.map((each) => each.mean ?? 0));
    const highest = most > 0 ? ` The busiest hour of the week has ${number(most)} on average.` : "";
    if (peak === null) return `${highest.trim() || "No hour was measured at all lines."}${partly(lines)}`;
    const [from, to] = [peak.from, peak.to].map((iso) => clockIn(junction.timezone, iso).slice(11));
    return `Busiest: ${shortDate(peak.date)}, ${from} to ${to}, ${number(peak.vehicles)} vehicles; peak-hour factor ${peak.factor.toFixed(2)}.${highest}${partly(lines)}`;
  },
  columns: [
    { label: "Weekday", value: (each) => WEEKDAYS[each.weekday - 1] },
    { label: "Hour", value: (each) => hour(each.hour) },
    { label: "Mean vehicles", number: true, value: (each) => rounded(each.mean, 1), words: (each) => number(each.mean) },
    { label: "85 % of hours below", number: true, value: (each) => rounded(each.p85, 1), words: (each) => number(each.p85) },
    { label: "Hours measured", number: true, value: (each) => each.n_measured },
    { label: "Hours passed", number: true, value: (each) => each.n_hours },
  ],
  rows: ({ hours_of_week: hours }) => hours,
  height: () => 300,
  figure({ hours_of_week: hours }) {
    const most = Math.max(...hours.map((each) => each.mean ?? 0));
    if (!hours.some((each) => each.mean !== null)) return null;
    const told = hours.filter((each) => each.mean !== null);
    const known = new Set(told.map((each) => `${each.weekday} ${each.hour}`));
    const all = WEEKDAYS.flatMap((_, index) => Array.from({ length: HOURS }, (_, at) => ({ weekday: index + 1, hour: at, mean: null })));
    const missing = all.filter((each) => !known.has(`${each.weekday} ${each.hour}`));
    const hatched = { color: colour("hatch-ground"), pattern: { shape: "/", fgcolor: colour("hatch"), fillmode: "overlay", size: 6, solidity: 0.2 } };
    const data = [cells(told, { color: told.map((each) => shade(most ? each.mean / most : 0)) }), cells(missing, hatched)];
    return {
      data,
      layout: {
        barmode: "overlay",
        bargap: 0,
        hovermode: "closest",
        xaxis: { range: [0, HOURS], tickvals: [0, 3, 6, 9, 12, 15, 18, 21, 24], ticktext: [0, 3, 6, 9, 12, 15, 18, 21, 24].map(hour) },
        yaxis: { range: [0, WEEKDAYS.length], tickvals: WEEKDAYS.map((_, index) => WEEKDAYS.length - 0.53 - index), ticktext: WEEKDAYS, showgrid: false },
      },
    };
  },
};

/** A bar for each hour, one unit high, stands for a cell. */
function cells(hours, marker) {
  return {
    type: "bar",
    x: hours.map((each) => each.hour + 0.5),
    y: hours.map(() => 0.94),
    base: hours.map((each) => WEEKDAYS.length - each.weekday),
    width: 0.95,
    marker,
    text: hours.map((each) => `${WEEKDAYS[each.weekday - 1]} ${hour(each.hour)}: ${number(each.mean)}`),
    textposition: "none",
    hovertemplate: "%{text}<extra></extra>",
  };
}

export const CHANGE = {
  id: "change",
  title: "Before and after a change of plan",
  path: "throughput",
  about: "The same hours of the week on both sides. What a junction carries follows what comes: a difference is no proof that the change made it.",
  asks: { name: "change", label: "Changed on" },
  excuse: (problem) => (problem.code === "change_unknown" ? "No new plan ran in these days. If something else was changed, say on which day." : null),
  summary({ difference, change, junction, found, lines }) {
    const [day, clock] = clockIn(junction.timezone, change).split(" ");
    const at = `${shortDate(day)}, ${clock}`;
    const head = found ? `A new plan ran from ${at}: ` : `Split at ${at}: `;
    if (difference.vehicles_per_h === null) return `${head}too little was measured on both sides to compare.${partly(lines)}`;
    const between = difference.low === null ? "" : ` (95 %: ${signed(difference.low)} to ${signed(difference.high)})`;
    const share = difference.share === null ? "" : `, ${signed(100 * difference.share)}\u202f%`;
    return `${head}${signed(difference.vehicles_per_h)} vehicles per hour${between}${share}, over ${number(difference.n_pairs)} pairs of hours.${partly(lines)}`;
  },
  columns: [
    { label: "Side", value: (side) => side.name },
    { label: "Plans", value: (side) => side.plans.join("; ") || null },
    { label: "Vehicles per hour", number: true, value: (side) => rounded(side.vehicles_per_h, 1), words: (side) => number(side.vehicles_per_h) },
    { label: "Hours compared", number: true, value: (side) => side.n_hours },
    { label: "Cycles", number: true, value: (side) => side.cycles, words: (side) => number(side.cycles) },
    { label: "Mean cycle (s)", number: true, value: (side) => rounded(side.mean_cycle_s, 1), words: (side) => number(side.mean_cycle_s, 1) },
    { label: "Saturation", number: true, value: (side) => rounded(side.saturation), words: (side) => percent(side.saturation) },
  ],
  rows: ({ before, after }) => [{ name: "Before", ...before }, { name: "After", ...after }],
  height: () => 170,
  figure({ before, after }) {
    if (before.vehicles_per_h === null && after.vehicles_per_h === null) return null;
    return {
      data: [
        {
          type: "bar",
          orientation: "h",
          y: ["After", "Before"],
          x: [after.vehicles_per_h, before.vehicles_per_h],
          marker: { color: [colour("in"), shade(0.45)] },
          hovertemplate: "%{x:,.0f} vehicles per hour<extra></extra>",
        },
      ],
      layout: { hovermode: "closest", xaxis: { rangemode: "tozero", title: titled("vehicles per hour") }, yaxis: { showgrid: false } },
    };
  },
};
