// The panel of orders by hand.

import { nth, plain, titled } from "./plotly.js";
import { clockIn } from "./range.js";
import { number, shortDate } from "./words.js";
import * as format from "../shell/format.js";

const DAY_MS = 86_400_000;
const MODES = { manual_override: "times by hand", fixed: "fixed time", flash: "flash", off: "off", preempt: "preemption", automatic: "automatic" };

export const OVERRIDES = {
  id: "overrides",
  title: "Orders by hand",
  path: "overrides",
  about: "Who took the lights by hand, how often and for how long.",
  summary({ total }) {
    if (total.n === 0) return total.n_refused ? `None took the lights; ${total.n_refused} were refused.` : "None.";
    const refused = total.n_refused ? `; ${number(total.n_refused)} more were refused` : "";
    return `${number(total.n)} in all, for ${format.duration(total.total_s * 1000)}${refused}.`;
  },
  columns: [
    { label: "Day", value: (row) => row.date, words: (row) => shortDate(row.date) },
    { label: "Who", value: (row) => row.user },
    { label: "Orders", number: true, value: (row) => row.n },
    { label: "Refused", number: true, value: (row) => row.n_refused },
    { label: "Seconds", number: true, value: (row) => Math.round(row.total_s), words: (row) => format.duration(row.total_s * 1000) },
    { label: "Modes", value: (row) => modes(row) },
  ],
  rows: ({ days }) => days,
  figure({ days, from, to, junction }) {
    if (days.length === 0) return null;
    const users = [...new Set(days.map((row) => row.user))];
    const data = users.map((user, index) => {
      const own = days.filter((row) => row.user === user);
      return {
        type: "bar",
        name: plain(user),
        x: own.map((row) => row.date),
        y: own.map((row) => row.total_s / 60),
        width: 0.7 * DAY_MS,
        marker: { color: nth(index) },
        hovertemplate: "%{y:.0f}\u202fmin",
      };
    });
    // A bar stands over its day, half of it before midnight.
    const range = [from, to].map((iso) => Date.parse(clockIn(junction.timezone, iso).slice(0, 10)) - DAY_MS / 2);
    const xaxis = { type: "date", tickformat: "%-d %b", range, hoverformat: "%a %-d %b" };
    return { data, layout: { barmode: "stack", showlegend: true, xaxis, yaxis: { title: titled("minutes") } } };
  },
};

function modes(row) {
  return Object.entries(row.by_mode)
    .map(([mode, n]) => `${n} ${MODES[mode] ?? mode}`)
    .join(", ");
}
