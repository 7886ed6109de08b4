// The page: asks how things are, passes on what is drawn, and saves it.

import { get, post } from "./api.js";
import { Editor } from "./editor.js";
import { Drawing } from "./model.js";
import { Panel } from "./panel.js";
import { Live } from "./picture.js";
import { h, say } from "./svg.js";

const STATE_MS = 700;
const HEAT_MS = 2000;
const TRY_MS = 250;
const FLASH_MS = 600;
const HINT_MS = 8000;
const $ = (id) => document.getElementById(id);

const drawing = new Drawing();
const editor = new Editor($("draw"), drawing, { changed, selected: () => paint(), mode: showMode });
const panel = new Panel($("shapes"), editor, { renamed: changed });
const live = new Live($("picture"), () => showEnter());

let state = null;
/** The file as this drawing began from it. The state may be newer: others save, too. */
let base = null;
let faults = [];
let notice = "";
let touched = true;
let pollTimer;
let tryTimer;
let heatTimer;

// --- the code -------------------------------------------------------------------------------------------------

async function begin() {
  clearTimeout(pollTimer);
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  // Out of the address bar and the history: it is of no use to anybody any more.
  if (code) history.replaceState(null, "", location.pathname);
  if (code && (await enter(code))) return;
  poll();
}

async function enter(code) {
  try {
    await post("/api/session", { code });
  } catch (fault) {
    showEnter(fault.message);
    return false;
  }
  $("code").value = "";
  poll();
  return true;
}

function showEnter(message = "") {
  clearTimeout(pollTimer);
  state = null;
  live.stop();
  $("studio").hidden = true;
  $("cameras").hidden = true;
  $("enter").hidden = false;
  say($("code-fault"), message);
  setLink("waiting", "code needed");
  $("code").focus();
}

$("code-form").addEventListener("submit", (event) => {
  event.preventDefault();
  enter($("code").value);
});

// --- how it goes ----------------------------------------------------------------------------------------------

async function poll() {
  clearTimeout(pollTimer);
  try {
    const active = touched ? "?active=1" : "";
    touched = false;
    show(await get(`/api/state${active}`));
  } catch (fault) {
    if (fault.status === 401) {
      showEnter(state ? "The session is over; a new code stands in the terminal." : "");
      return;
    }
    setLink("trouble", "not reachable");
    live.alive = false;
  }
  pollTimer = setTimeout(poll, STATE_MS);
}

function show(next) {
  const first = state === null;
  state = next;
  if (first) showStudio();
  // After a session that ended, what was drawn in it is there still.
  if (base?.camera !== state.camera || (state.mark !== base.mark && !isDirty())) load();
  showCameras();
  showReport(next.report, next.trouble);
  paint();
}

function showStudio() {
  $("enter").hidden = true;
  $("studio").hidden = false;
  live.start();
}

/** Another camera, or the first one: what stands in the file. */
function load() {
  base = { camera: state.camera, mark: state.mark, saved: state.saved };
  drawing.load(state.saved);
  faults = [];
  editor.heat = null;
  setProposals([]);
  editor.setMode("select");
  editor.select(null);
  note("");
}

function showCameras() {
  const select = $("camera");
  $("cameras").hidden = state.cameras.length < 2;
  const told = state.cameras.join("\n");
  if (select.dataset.told !== told) {
    select.dataset.told = told;
    select.replaceChildren(...state.cameras.map((name) => h("option", {}, name)));
  }
  if (document.activeElement !== select) select.value = state.camera;
}

function showReport(report, trouble) {
  const flows = report && report.width_px > 0 && report.silent_s < 3 && !trouble;
  live.alive = Boolean(flows);
  setLink(flows ? "live" : trouble ? "trouble" : "waiting", flows ? "live" : trouble ? "no picture" : "opening");
  $("trouble").hidden = !trouble;
  say($("trouble-text"), trouble?.text ?? "");
  say($("trouble-mend"), trouble?.mend ?? "");
  if (!report?.width_px) {
    say($("facts"), `${state.source}: waiting for the first picture`);
    return;
  }
  const { width_px: w, height_px: height } = report;
  editor.setSize(w, height);
  $("stage").style.aspectRatio = `${w} / ${height}`;
  $("stage").style.setProperty("--ratio", w / height);
  const model = report.model_ms === null ? "" : `, ${state.model} ${Math.round(report.model_ms)} ms`;
  const fault = report.fault ? ` \u2013 ${report.fault}` : "";
  say($("facts"), `${w} \u00d7 ${height} px, ${report.fps} FPS${model}, ${report.n_tracks} in the picture${fault}`);
  takeCounts(report);
}

function takeCounts(report) {
  const counts = new Map();
  for (const { name, n_in, n_out } of report.lines) counts.set(name, [n_in, n_out]);
  for (const { name, n } of report.zones) counts.set(name, [n]);
  for (const [name, [a, b]] of counts) {
    const before = editor.counts.get(name);
    if (b === undefined || !before || a + b <= before[0] + before[1]) continue;
    editor.flash.add(name);
    setTimeout(() => {
      editor.flash.delete(name);
      if (!editor.drag) editor.render();
    }, FLASH_MS);
  }
  editor.counts = counts;
}

function setLink(kind, words) {
  $("link").dataset.state = kind;
  say($("link-text"), words);
}

function paint() {
  editor.faulty = new Set(faults.map((fault) => fault.key));
  if (!editor.drag) editor.render();
  panel.render(faults);
  $("empty").hidden = drawing.shapes.length > 0;
  $("undo").disabled = drawing.past.length === 0;
  const dirty = isDirty();
  $("save").disabled = !dirty || faults.length > 0;
  say($("saved"), notice || (dirty ? "Not saved yet" : state ? `As in ${state.file}` : ""));
}

const isDirty = () =>
  base !== null && JSON.stringify(drawing.sent()) !== JSON.stringify({ lines: base.saved.lines.map(plain), zones: base.saved.zones.map(plain) });
const plain = ({ name, points, was }) => ({ name, points, was });

// --- drawing --------------------------------------------------------------------------------------------------

function changed() {
  clearTimeout(tryTimer);
  tryTimer = setTimeout(attempt, TRY_MS);
  note("");
}

/** Count with what is drawn, at once; what is wrong with it is told where it is. */
async function attempt() {
  try {
    await post("/api/try", drawing.sent());
    faults = [];
  } catch (fault) {
    takeFault(fault);
  }
  paint();
}

function takeFault(fault) {
  faults = fault.complaints
    .filter((complaint) => complaint.kind)
    .map((complaint) => ({ ...complaint, key: drawing.at(complaint.kind, complaint.index)?.key }));
  const rest = fault.complaints.filter((complaint) => !complaint.kind).map((complaint) => complaint.message);
  if (!fault.complaints.length) note(fault.message, true);
  else if (rest.length) note(rest.join("; "), true);
}

/** Words about saving, until something is changed again. */
function note(message, wrong = false) {
  notice = message;
  $("saved").classList.toggle("fault", wrong);
  if (!wrong) $("reload").hidden = true;
  paint();
}

const HINTS = {
  select: "",
  lines: "Draw across the road with your finger, or tap its two ends.",
  zones: "Draw from corner to corner, or tap each corner, then Done.",
};

function showMode(mode) {
  $("add-line").setAttribute("aria-pressed", String(mode === "lines"));
  $("add-zone").setAttribute("aria-pressed", String(mode === "zones"));
  $("done").hidden = !(mode === "zones" && editor.pending.length >= 3);
  say($("hint"), HINTS[mode]);
}

function startDrawing(kind) {
  return (event) => {
    // A click without a place comes from a key: there is no pointer to draw with.
    if (event.detail === 0) editor.addInTheMiddle(kind);
    else editor.setMode(editor.mode === kind ? "select" : kind);
  };
}

$("add-line").addEventListener("click", startDrawing("lines"));
$("add-zone").addEventListener("click", startDrawing("zones"));
$("done").addEventListener("click", () => editor.done());
$("undo").addEventListener("click", undo);
$("zoom").addEventListener("click", (event) => {
  const zoomed = $("stage").classList.toggle("zoomed");
  $("stage").style.width = zoomed ? "250%" : "";
  event.currentTarget.setAttribute("aria-pressed", String(zoomed));
  const frame = $("frame");
  if (zoomed) frame.scrollTo(frame.scrollWidth * 0.3, frame.scrollHeight * 0.3);
});

function undo() {
  drawing.undo();
  editor.nudged = null;
  if (!drawing.get(editor.selected)) editor.select(null);
  editor.changed();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select");
  if (!typing && (event.ctrlKey || event.metaKey) && event.key === "z") {
    event.preventDefault();
    undo();
  }
});
for (const kind of ["pointerdown", "keydown"])
  document.addEventListener(kind, () => { touched = true; }, { capture: true });

// --- where lines belong ---------------------------------------------------------------------------------------

$("heat").addEventListener("click", (event) => {
  const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
  event.currentTarget.setAttribute("aria-pressed", String(on));
  clearTimeout(heatTimer);
  editor.heat = null;
  editor.render();
  if (on) renewHeat();
});

async function renewHeat() {
  try {
    editor.heat = await get("/api/heat");
    if (!editor.drag) editor.render();
  } catch { /* The next one may come; how things are is told by the state. */ }
  if ($("heat").getAttribute("aria-pressed") === "true") heatTimer = setTimeout(renewHeat, HEAT_MS);
  else editor.heat = null;
}

$("suggest").addEventListener("click", async () => {
  if (editor.proposals.length) {
    setProposals([]);
    return;
  }
  say($("hint"), "Looking at where vehicles went\u2026");
  try {
    const { lines, n_trails } = await post("/api/suggest");
    setProposals(lines);
    const few = `${n_trails} vehicles went through the picture so far: too few to tell. Wait for some more.`;
    hint(lines.length ? "" : few);
  } catch (fault) {
    hint(fault.message);
  }
});

/** Words that are of use for a while only. */
function hint(words) {
  say($("hint"), words);
  setTimeout(() => { if ($("hint").textContent === words) say($("hint"), ""); }, HINT_MS);
}

function setProposals(lines) {
  editor.proposals = lines;
  $("suggest").setAttribute("aria-pressed", String(lines.length > 0));
  $("proposals").hidden = !lines.length;
  $("proposals").replaceChildren(...lines.map(proposalCard));
  editor.render();
}

function proposalCard(proposal, index) {
  const take = h("button", { class: "primary" }, "Take it");
  take.addEventListener("click", () => {
    editor.finish("lines", proposal.points);
    setProposals(editor.proposals.filter((one) => one !== proposal));
  });
  const leave = h("button", {}, "Leave it");
  leave.addEventListener("click", () => setProposals(editor.proposals.filter((one) => one !== proposal)));
  return h(
    "div", {},
    h("h2", {}, `Suggested line ${index + 1}: ${Math.round(100 * proposal.share)} % of all`),
    h("ul", {}, ...proposal.why.map((words) => h("li", {}, words))),
    h("div", { class: "row" }, take, leave),
  );
}

// --- the file -------------------------------------------------------------------------------------------------

$("save").addEventListener("click", async () => {
  clearTimeout(tryTimer);
  $("save").disabled = true;
  try {
    state = await post("/api/save", { drawing: drawing.sent(), mark: base.mark });
    base = { camera: state.camera, mark: state.mark, saved: state.saved };
    faults = [];
    drawing.settle();
    note(`Saved to ${state.file}. The agent takes it at its next start.`);
  } catch (fault) {
    takeFault(fault);
    $("reload").hidden = fault.status !== 409;
    paint();
  }
});

$("reload").addEventListener("click", async () => {
  try {
    state = await post("/api/reload");
    drawing.merge(base.saved, state.saved);
    base = { camera: state.camera, mark: state.mark, saved: state.saved };
    note("Read again. Look at the lines, then save.");
    await attempt();
  } catch (fault) {
    takeFault(fault);
  }
});

$("camera").addEventListener("change", async () => {
  if (isDirty() && !confirm("What was drawn is not saved. Leave it?")) {
    $("camera").value = state.camera;
    return;
  }
  try {
    state = await post("/api/camera", { camera: $("camera").value });
    $("camera").blur();
    live.renew();
    load();
    show(state);
  } catch (fault) {
    note(fault.message, true);
  }
});

window.addEventListener("beforeunload", (event) => {
  if (isDirty()) event.preventDefault();
});

// The address with a code, opened in a tab that shows the page already, loads nothing anew.
addEventListener("hashchange", begin);

begin();
