// What is known of a junction's lights, kept apart from how it looks. Nothing here touches the document or the network.

const KEPT_CYCLES = 6;
const GOES = ["green", "yellow"];
/** Lights that run tell something at least once a minute, and it is on its way for some seconds. */
const SILENT_MS = 75_000;
/** Cameras tell each second how many wait: what is older than this says nothing about now. */
const QUEUE_HOLDS_MS = 30_000;

export class Lights {
  constructor() {
    /** Whether it has lights at all, as far as anybody told. */
    this.any = false;
    this.description = null;
    /** phase -> {phase, name, aspect, since}; aspect null: not known. */
    this.heads = new Map();
    this.mode = null;
    this.flash = null;
    this.plan = null;
    this.algorithm = null;
    this.heardAt = null;
    /** lane -> {n, standing, at}; standing null: not told. */
    this.queues = new Map();
    /** Newest first: {key, at, lengthS, mode, algorithm, lanes: Map(lane -> {vehicles, greenS, saturation})}. */
    this.cycles = [];
  }

  /** Take in a reading of the store. What was told live since then stays. */
  settle(reading) {
    this.any = reading.any;
    if (JSON.stringify(this.description) !== JSON.stringify(reading.description)) {
      this.description = reading.description;
    }
    for (const head of reading.heads) {
      const known = this.heads.get(head.phase);
      if (!known || (known.since ?? 0) <= (head.since ?? 0)) this.heads.set(head.phase, head);
      else known.name = head.name;
    }
    this.mode = reading.mode;
    this.flash = reading.flash;
    this.plan = reading.plan;
    this.algorithm = reading.algorithm;
    this.#heard(reading.heardAt);
    for (const [lane, queue] of reading.queues) this.#queue(lane, queue);
    for (const cycle of [...reading.cycles].reverse()) this.cycle(cycle);
  }

  /** One live event of the lights. False: the store has to be read for what it means. */
  signal(event) {
    this.any = true;
    this.#heard(event.at);
    if (event.phase === null) return false;
    const known = this.heads.get(event.phase);
    if (known && (known.since ?? 0) > event.at) return true;
    this.heads.set(event.phase, { ...(known ?? { name: null }), phase: event.phase, aspect: event.aspect, since: event.at });
    return known !== undefined;
  }

  cycle(cycle) {
    if (this.cycles.some((other) => other.key === cycle.key)) return;
    const older = this.cycles.findIndex((other) => other.at < cycle.at);
    this.cycles.splice(older === -1 ? this.cycles.length : older, 0, cycle);
    this.cycles.length = Math.min(this.cycles.length, KEPT_CYCLES);
    if (this.cycles[0] === cycle) this.algorithm = cycle.algorithm;
    this.#heard(cycle.at);
  }

  /** Whether a zone is one before a stop line: it is drawn as a queue. */
  isApproach(sensor, zone) {
    return this.#detectors("approach").some((one) => one.sensor === sensor && one.source === zone);
  }

  occupancy(event) {
    const detector = this.#detectors("approach").find((one) => one.sensor === event.sensor && one.source === event.zone);
    if (detector) this.#queue(detector.lane, { n: event.n, standing: event.n_standing, at: event.at });
  }

  /** Who waits on a lane now; null: not known. */
  queue(lane, nowMs) {
    const found = this.queues.get(lane);
    return found && nowMs - found.at < QUEUE_HOLDS_MS ? found : null;
  }

  /** The smallest stage that holds all that go; null while nobody goes. */
  get stage() {
    return this.#stage()?.name ?? null;
  }

  /** Since when: the latest of its movements to become green. Null: not known. */
  get stageSince() {
    const names = this.#stage()?.movements ?? [];
    const green = [...this.heads.values()].filter((head) => head.aspect === "green" && names.includes(head.name));
    const since = green.map((head) => head.since).filter((at) => at !== null);
    return since.length ? Math.max(...since) : null;
  }

  /** Which follows in the plan. Null: not known, or the stage is not one of the plan. */
  get nextStage() {
    const order = this.planStages().map((step) => step.stage);
    const at = order.indexOf(this.stage);
    return at === -1 ? null : order[(at + 1) % order.length];
  }

  planStages(name = this.plan) {
    const plans = this.description?.plans ?? [];
    return (plans.find((plan) => plan.name === name) ?? plans[0])?.stages ?? [];
  }

  #stage() {
    const going = [...this.heads.values()].filter((head) => GOES.includes(head.aspect)).map((head) => head.name);
    if (going.length === 0) return null;
    const fitting = (this.description?.stages ?? []).filter((stage) => going.every((name) => stage.movements.includes(name)));
    fitting.sort((a, b) => a.movements.length - b.movements.length);
    return fitting[0] ?? null;
  }

  /** What the drivers on a lane see: of several heads the one that lets them go. */
  laneAspect(lane) {
    return this.laneHead(lane)?.aspect ?? null;
  }

  laneHead(lane) {
    const shown = this.movements().filter((movement) => (movement.lanes ?? []).includes(lane));
    const heads = shown.map((movement) => this.heads.get(movement.phase)).filter((head) => head !== undefined);
    const going = GOES.map((aspect) => heads.find((head) => head.aspect === aspect)).find((head) => head !== undefined);
    return going ?? heads[0] ?? null;
  }

  /** What tells of crossings of a lane's stop line: [{sensor, source}]. */
  stopLines(lane) {
    return this.#detectors("stop_line").filter((one) => one.lane === lane);
  }

  movements() {
    return this.description?.movements ?? [];
  }

  lanes() {
    return this.description?.lanes ?? [];
  }

  /** Whether nothing was heard for longer than lights that run are ever silent. */
  isSilent(nowMs) {
    return this.heardAt !== null && nowMs - this.heardAt > SILENT_MS;
  }

  #detectors(kind) {
    return (this.description?.detectors ?? []).filter((detector) => detector.kind === kind);
  }

  #heard(at) {
    if (at !== null && (this.heardAt === null || at > this.heardAt)) this.heardAt = at;
  }

  #queue(lane, queue) {
    const known = this.queues.get(lane);
    if (!known || known.at <= queue.at) this.queues.set(lane, queue);
  }
}
