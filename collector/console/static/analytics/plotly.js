// Draws charts with Plotly, which the collector serves out of its wheel, in the page's own colours.
//
// The page's policy allows no styles but those of our own files. Plotly leaves its own out where these elements are
// there; `styles/analytics.css` has what it needs of them.

const STYLE_IDS = ["plotly.js-style-global", "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53"];
const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, showTips: false };
const NARROW_PX = 480;
const NAME_PX = 20;
/** Told apart by all eyes, and on both grounds. */
const PALETTE = ["#2f86c9", "#d9822b", "#2a9d78", "#b467c4", "#b59a1c", "#d4605a", "#4fa3b3", "#8c7b6b"];

let loading = null;

/** The library, loaded once. Throws where it is not installed or nobody answers. */
export function loadPlotly() {
  loading ??= new Promise((resolve, reject) => {
    for (const id of STYLE_IDS) {
      if (document.getElementById(id)) continue;
      const mark = document.createElement("meta");
      mark.id = id;
      mark.className = "no-inline-styles";
      document.head.append(mark);
    }
    const script = document.createElement("script");
    script.src = "/plotly.js";
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      loading = null;
      script.remove();
      reject(new Error("Charts cannot be drawn: plotly is not there. The tables tell the same."));
    });
    document.head.append(script);
  });
  return loading;
}

/** Draw a figure into an element: `{data, layout}` as Plotly takes them, coloured as the page is. */
export async function draw(element, figure, height) {
  const plotly = await loadPlotly();
  const layout = layoutOf(figure.layout ?? {}, height);
  if (element.clientWidth < NARROW_PX) narrow(layout, figure.data.length);
  await plotly.react(element, figure.data, layout, CONFIG);
}

export async function clear(element) {
  if (loading === null) return;
  (await loading).purge(element);
}

/** A colour of the page by what it means, such as `in` or `bad`. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** The colour of the nth of several. */
export function nth(index) {
  return PALETTE[index % PALETTE.length];
}

/** Part of the way from the card's ground to a colour: 0 to 1. */
export function shade(share, name = "in") {
  const [from, to] = [colour("hatch-ground"), colour(name)].map(channels);
  const at = 0.08 + 0.92 * Math.min(1, Math.max(0, share));
  return `rgb(${from.map((value, index) => Math.round(value + (to[index] - value) * at)).join(",")})`;
}

/** On a phone names stand below each other, for which there must be room. */
function narrow(layout, n) {
  if (layout.showlegend) layout.height += NAME_PX * n;
  if (layout.xaxis.nticks) layout.xaxis.nticks = 4;
}

function channels(hex) {
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
}

/** The title of an axis. */
export function titled(text) {
  return { text, font: { size: 12 }, standoff: 8 };
}

/** Names that people gave, as Plotly's texts show them unchanged: it takes some tags for formatting. */
export function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function layoutOf(own, height) {
  const text = colour("text");
  const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("quiet") };
  const axis = { gridcolor: colour("rule"), linecolor: colour("rule"), zerolinecolor: colour("rule"), fixedrange: true, automargin: true };
  const { xaxis, yaxis, yaxis2, ...rest } = own;
  const layout = {
    height,
    font,
    dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    separators: ".\u202f",
    margin: { l: 8, r: 12, t: 12, b: 8 },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"), font: { ...font, color: text } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", font: { ...font, color: text } },
    showlegend: false,
    bargap: 0.25,
    ...rest,
    xaxis: { ...axis, showgrid: false, ...xaxis },
    yaxis: { ...axis, rangemode: "tozero", zeroline: false, ...yaxis },
  };
  if (yaxis2) layout.yaxis2 = { ...axis, showgrid: false, ...yaxis2 };
  return layout;
}
