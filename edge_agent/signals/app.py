"""The root of the lights' daemon: opens heads, lights, memory, records and link, steps them, and closes them.

The heads come first, red before anything else is tried; what the lights do not depend on comes after them, and
may fail. Whatever ends the process, the heads are left red: by `close` here, and after kill -9 by the
unit's `ExecStopPost`.

SIGTERM ends the greens as always, yellow included, then leaves steady red: a planned stop is no emergency, and
nobody's green may turn into red at once. It takes `STOP_S` at most, or as long as the longest minimum green and
its yellow; a second signal, or systemd's own patience, ends it at once. No order is taken meanwhile. SIGHUP reads
the configuration again.
"""

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from common.clock import FLOOR_MS
from common.codes import Aspect
from common.commands import Automatic, ClearFault, Flash, Off, Order, OrderResult, Preempt
from common.junction_times import late_plans, start_red_s
from common.schedule import Local
from edge_agent.clock_source import Clock
from edge_agent.domain.signals.cycles import TagPassage
from edge_agent.domain.signals.event_codes import PreemptCall, Told
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.steps import FaultCode, Lane
from edge_agent.drivers.base import SignalHeads
from edge_agent.link.messages import OrderAnswer
from edge_agent.link.spool import Spool
from edge_agent.safe_file import write_safely
from edge_agent.signals.agent_link import AgentLink, Sensed
from edge_agent.signals.aside import Aside
from edge_agent.signals.changes import Changes, waits_too_long
from edge_agent.signals.config import SignalsConfig, wiring_of
from edge_agent.signals.driving import Driven, Driving, ManyPis
from edge_agent.signals.loop import STEP_S, Lateness, Tick, Wait, looking, monotonic_s, ticks, wait_for_signal
from edge_agent.signals.memory import LAST_GOOD_NAME, HeadsLock, Kept, KeptFault, Memory
from edge_agent.signals.priority import settle, share_memory
from edge_agent.signals.recording import Recording
from edge_agent.signals.reloading import Load, Reloading, in_words, needs_restart
from edge_agent.signals.senses import Senses, ladder
from edge_agent.signals.supervision import Watchdog, tell_systemd

if TYPE_CHECKING:
    from edge_agent.signals.contacts import Contacts

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_S = 15.0
_SPARE_S = 1.0
"""For steps."""
_SPOOL_NAME = "spool.sqlite"
_REPORT_S = 3600.0
_MOST_DOUBTS = 500
"""Characters of a note about sensors."""
_STILL = frozenset({Aspect.RED, Aspect.FLASHING_RED, Aspect.DARK})
"""Where all heads show one of these, nobody may go, and nobody is on the way."""
_PATIENCE_S = 120.0
"""So long new plans wait for an all red. None comes where clearances are 0, or a movement is green in all stages,
or while a green rests at night."""
_MAX_ORDERS = 8
"""So many are carried out in a step; a flood of them must not make it late."""


def run_signals(
    config: SignalsConfig, load: Load, *, lost: str = "", open_heads: "OpenHeads | None" = None
) -> None:
    """Drive the lights until a signal ends it.

    Args:
        load: see `Load`.
        lost: why `config` is not what is configured now but the last that was good: then the lights flash.

    Raises:
        DaemonRuns: another one drives them.
        HeadsError: the heads cannot be had.
        OSError: the state folder cannot be written.
    """
    # Before any thread is made, libraries' threads included.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    share_memory()
    lock = HeadsLock(Path(config.state_dir))
    lock.take()
    try:
        heads = (open_heads or open_configured_heads)(config)
        try:
            if config.lane is not None:
                from edge_agent.signals.lane_daemon import run_lane

                run_lane(config, heads, SIGNALS)
                return
            daemon = Daemon(config, heads, load, lost)
            daemon.run()
        finally:
            heads.close()
    finally:
        lock.release()


OpenHeads = Callable[[SignalsConfig], SignalHeads]


def open_configured_heads(config: SignalsConfig) -> SignalHeads:
    """The configured driver, its heads red.

    Raises:
        HeadsError: they cannot be had.
    """
    if config.heads.driver == "gpio":
        from edge_agent.drivers.heads.gpio import GpioHeads

        return GpioHeads(wiring_of(config.heads))
    if config.heads.driver == "lanes":
        from edge_agent.signals.several_pis import open_lanes

        return open_lanes(config)
    from edge_agent.drivers.heads.simulated import SimulatedHeads

    record = Path(config.heads.record) if config.heads.record else None
    movements = [movement.name for movement in config.described.movements]
    return SimulatedHeads([config.lane.movement] if config.lane else movements, record)


class Daemon:
    """Everything that runs between the opening of the heads and their closing."""

    def __init__(self, config: SignalsConfig, heads: SignalHeads, load: Load, lost: str) -> None:
        self._config, self._heads, self._lost = config, heads, lost
        self._junction = config.described
        self._zone = ZoneInfo(self._junction.timezone)
        self._memory = Memory(Path(config.state_dir))
        self._kept = self._memory.load()
        self._green: set[str] = set()
        self._calls: list[PreemptCall] = []
        self._driving: Driving | None = None
        self._changes = Changes()
        self._lateness = Lateness()
        self._watchdog = Watchdog()
        self._report_s: float | None = None
        self._stop_from_s: float | None = None
        self._reloading = Reloading(load)
        self._remembers: Thread | None = None
        self._pending: SignalsConfig | None = None
        self._waits_from_s: float | None = None
        # What the lights do not depend on; opened after the first step.
        self._for_link, self._for_senses, self._for_records = (
            Aside("the link to the agent"),
            Aside("what sensors tell"),
            Aside("the lights' records"),
        )
        self._for_lanes = Aside("what the lanes are told")
        self._for_contacts = Aside("the contacts")
        self._for_journal = Aside("the journal")
        self._is_settled = False
        self._clock: Clock | None = None
        self._spool: Spool | None = None
        self._link: AgentLink | None = None
        self._recording: Recording | None = None
        self._senses: Senses | None = None
        self._contacts: Contacts | None = None
        self._wait: Wait = wait_for_signal
        self._clock_s: Callable[[], float] = monotonic_s

    def run(self) -> None:
        """Step until a signal ends it."""
        # The heads are red, and no step can be late yet.
        while not self._is_settled and self._open_next(monotonic_s()):
            pass
        try:
            for tick in ticks(SIGNALS, wait=self._wait_for):
                if self._tick(tick):
                    break
        finally:
            # First of all: what follows may take a while.
            self._heads.fail_safe()
            tell_systemd("STOPPING=1")
            self._close()

    def _tick(self, tick: Tick) -> bool:
        """One step; whether it was the last."""
        now_s = tick.now_s
        self._lateness.add(tick.late_s)
        if self._driving is None:
            self._driving = self._begin(now_s)
            self._show(self._driving, now_s, [])
            tell_systemd(f"READY=1\nSTATUS=drives the lights of {self._junction.name}")
            return False
        sensed = self._hear(self._driving, now_s)
        self._for_contacts.do(now_s, None, self._obey, self._driving, now_s)
        self._take_signals(tick, self._driving)
        self._take_loaded(self._driving, now_s)
        driven = self._show(self._driving, now_s, sensed)
        self._open_next(now_s)
        self._report(now_s)
        return self._has_stopped(driven, tick)

    def _wait_for(self, signals: Collection[int], timeout_s: float) -> int | None:
        return self._wait(signals, timeout_s)

    def _begin(self, now_s: float) -> Driving:
        """Lights from their beginning, with what they have to remember."""
        names = [one.name for one in self._junction.movements]
        driving = Driving(self._new_lights(now_s), self._heads, names, self._clock_s)
        self._recall(driving, now_s)
        return driving

    def _new_lights(self, now_s: float, least_red_s: float = 0.0) -> Lights:
        """From start-up on, with at least so long a red: who went before clears by another description."""
        limits = Limits(late_step_s=STEP_S + self._config.loop.late_s)
        self._senses = self._for_senses.do(now_s, None, Senses, self._junction, now_s)
        choose = self._for_senses.do(now_s, None, ladder, self._junction)
        junction = self._junction
        if start_red_s(junction) < least_red_s:
            startup = msgspec.structs.replace(junction.startup, all_red_s=least_red_s)
            junction = msgspec.structs.replace(junction, startup=startup)
        return Lights(junction, now_s, choose=choose, limits=limits)

    def _recall(self, driving: Driving, now_s: float) -> None:
        if self._kept.order is not None:
            driving.order(self._kept.order, now_s)
        if self._kept.fault is not None:
            driving.report(self._kept.fault.code, self._kept.fault.detail, now_s)

    # --- one step ---

    def _show(self, driving: Driving, now_s: float, sensed: Sequence[Sensed]) -> Driven:
        """Decide and show, remember, tell."""
        if self._lost:
            driving.report(FaultCode.PLAN_LOST, self._lost, now_s)
        local = self._local()
        lanes = self._for_senses.do(now_s, None, self._sense, now_s, local, sensed)
        driven = driving.step(now_s, local, lanes)
        self._green = {name for name, aspect in driven.aspects.items() if aspect is Aspect.GREEN}
        self._watchdog.feed(driven)
        self._keep(driven)
        self._tell(driven, lanes)
        return driven

    def _sense(self, now_s: float, local: Local | None, sensed: Sequence[Sensed]) -> Sequence[Lane] | None:
        """What each lane tells; None: nothing is measured."""
        if self._senses is None:
            return None
        self._senses.take(sensed, now_s)
        if self._contacts is not None:
            self._senses.take_contacts(self._contacts.turned(), self._contacts.trouble, now_s)
        return self._senses.lanes(now_s, self._green, None if local is None else int(local.second_s // 3600))

    def _local(self) -> Local | None:
        """The time on the wall; None while the clock is before Stopline's own beginning, and so was never set."""
        moment = datetime.now(UTC)
        if moment.timestamp() * 1000 < FLOOR_MS:
            return None
        wall = moment.astimezone(self._zone)
        return Local(wall.isoweekday(), wall.hour * 3600 + wall.minute * 60 + wall.second + wall.microsecond / 1e6)

    def _keep(self, driven: Driven) -> None:
        if self._lost:
            # What was latched before stays so, and this one ends with its cause.
            return
        fault = KeptFault(driven.fault.code, driven.fault.detail) if driven.fault else None
        if fault != self._kept.fault:
            self._kept = Kept(fault, self._kept.order)
            self._memory.keep(self._kept)

    def _keep_fault(self, driving: Driving) -> None:
        """Lights are about to be replaced: what was found since the last step is not kept yet."""
        fault = driving.lights.interlock.fault
        if fault is not None and not self._lost:
            self._kept = Kept(KeptFault(fault.code, fault.detail), self._kept.order)
            self._memory.keep(self._kept)

    def _hear(self, driving: Driving, now_s: float) -> list[Sensed]:
        """What sensors saw; orders are carried out."""
        counted: list[Sensed] = []
        if isinstance(self._heads, ManyPis):
            counted = self._for_senses.do(
                now_s, [], self._heads.sensed, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            )
        if self._link is None:
            return counted
        sensed, asked = self._for_link.do(now_s, ([], []), self._link.poll)
        for number, (peer, ask) in enumerate(asked):
            if number >= _MAX_ORDERS:
                refused = OrderResult(accepted=False, reason="too many orders at once; give it again")
                self._for_link.do(now_s, None, self._link.answer, peer, OrderAnswer(id=ask.id, result=refused))
                continue
            result = self._order(driving, ask.order, now_s)
            self._note_order(ask.order, result, now_s)
            self._for_link.do(now_s, None, self._link.answer, peer, OrderAnswer(id=ask.id, result=result))
        return [*counted, *sensed]

    def _obey(self, driving: Driving, now_s: float) -> None:
        """What the contacts order. It does not outlive the daemon: they are there to be asked again."""
        if self._contacts is None:
            return
        back = self._kept.order or Automatic(by="the contacts", why="none wants flash any more")
        self._contacts.obey(
            lambda order: self._order(driving, order, now_s),
            lambda order, result: self._note_order(order, result, now_s, keeps=False),
            back,
            now_s,
        )

    def _note_order(self, order: Order, result: OrderResult, now_s: float, *, keeps: bool = True) -> None:
        """Who ordered what, for the log, for the collector, and where it is to outlive the daemon."""
        name = type(order).__name__
        text = f"{name} by {order.by}: {'accepted' if result.accepted else result.reason}"
        logger.info("%s", text, extra={"action": "order"})
        if self._recording is not None:
            facts: dict[str, str | bool] = {
                "order": name,
                "by": order.by,
                "why": order.why,
                "accepted": result.accepted,
                "given": msgspec.json.encode(order).decode(),
            }
            self._for_records.do(now_s, None, self._recording.log, "info", "lights_order", text, **facts)
        if not result.accepted or isinstance(order, ClearFault):
            return
        if isinstance(order, Preempt):
            self._calls.append(PreemptCall(order.preemption, now_s, order.on))
            return
        if not keeps:
            return
        self._kept = Kept(self._kept.fault, order if isinstance(order, Flash | Off) else None)
        self._memory.keep(self._kept)

    def _order(self, driving: Driving, order: Order, now_s: float) -> OrderResult:
        """While the lights end, none: a green that came again would be cut short. While somebody at the cabinet
        wants flash, nothing else."""
        if self._stop_from_s is not None:
            return OrderResult(accepted=False, reason="the lights' daemon is being stopped; order it when it runs")
        flashing = self._contacts.keeps_flashing if self._contacts is not None else ""
        if flashing and not isinstance(order, Flash | ClearFault | Preempt):
            reason = f"the contact {flashing} keeps the lights flashing; switch it off first"
            return OrderResult(accepted=False, reason=reason)
        return driving.order(order, now_s)

    def _tell(self, driven: Driven, lanes: Sequence[Lane] | None) -> None:
        now_s = driven.now_s
        self._for_journal.do(now_s, None, self._log_changes, driven)
        if isinstance(self._heads, ManyPis):
            self._for_lanes.do(now_s, None, self._heads.tell, driven)
        if self._recording is not None:
            told, passages = self._for_senses.do(now_s, ([], []), self._told_of_sensors)
            told, self._calls = [*told, *self._calls], []
            self._for_records.do(now_s, None, self._recording.step, driven, lanes, told, passages)
        if self._link is not None:
            self._for_link.do(now_s, None, self._link.show, driven, self._note(driven))
            self._for_link.do(now_s, None, self._link.hand_over)

    def _log_changes(self, driven: Driven) -> None:
        for change in self._changes.step(driven):
            level = logging.getLevelNamesMapping()[change.level.upper()]
            logger.log(level, "%s", change.text, extra={"action": change.action})

    def _told_of_sensors(self) -> tuple[list[Told], list[TagPassage]]:
        return self._senses.told() if self._senses is not None else ([], [])

    def _doubts(self) -> str:
        return self._senses.doubts[:_MOST_DOUBTS] if self._senses is not None else ""

    def _note(self, driven: Driven) -> str:
        spool = (self._spool and self._spool.trouble) or ""
        doubts = self._for_senses.do(driven.now_s, "", self._doubts)
        asides = (self._for_records.trouble, self._for_senses.trouble, self._for_contacts.trouble)
        starving = [waits_too_long(name) for name in sorted(driven.starving)]
        parts = (driven.decision.note, *starving, self._flashing_note(), *asides, spool, doubts)
        return "; ".join(part for part in parts if part)

    def _flashing_note(self) -> str:
        name = self._contacts.keeps_flashing if self._contacts is not None else ""
        return f"the contact {name} is on: the lights flash until it is off" if name else ""

    def _report(self, now_s: float) -> None:
        """Once an hour: how punctual the steps were."""
        if self._report_s is None:
            self._report_s = now_s + _REPORT_S
        elif now_s >= self._report_s:
            self._report_s = now_s + _REPORT_S
            logger.info("%s", self._lateness, extra={"action": "lateness", **self._lateness.figures()})
            self._lateness.forget()

    # --- signals: stop, and read the configuration again ---

    def _take_signals(self, tick: Tick, driving: Driving) -> None:
        if signal.SIGHUP in tick.signals:
            self._reloading.begin()
        if self._stop_from_s is None and tick.signals & {signal.SIGTERM, signal.SIGINT}:
            logger.info("stopping: greens end, then all is red", extra={"action": "stopping"})
            self._stop_from_s = tick.now_s
            driving.order(Flash(by="the daemon", why="it is stopped"), tick.now_s)

    def _has_stopped(self, driven: Driven, tick: Tick) -> bool:
        if self._stop_from_s is None:
            return False
        again = tick.now_s > self._stop_from_s and bool(tick.signals & {signal.SIGTERM, signal.SIGINT})
        longest_s = max(STOP_S, *(one.min_green_s + one.yellow_s + _SPARE_S for one in self._junction.movements))
        is_still = _STILL.issuperset(driven.aspects.values())
        return again or is_still or tick.now_s - self._stop_from_s >= longest_s

    def _take_loaded(self, driving: Driving, now_s: float) -> None:
        loaded = self._reloading.take()
        if loaded is not None:
            self._judge(loaded)
        if self._pending is None:
            if self._waits_from_s is not None:
                driving.make_way(now_s, on=False)
            self._waits_from_s = None
        elif self._waits_from_s is None:
            self._waits_from_s = now_s
        elif now_s - self._waits_from_s >= _PATIENCE_S:
            driving.make_way(now_s, on=True)
        if self._pending is not None and driving.is_red and not driving.lights.is_preempted:
            self._keep_fault(driving)
            before_s = start_red_s(self._junction)
            self._config, self._pending = self._pending, None
            self._junction = self._config.described
            self._zone = ZoneInfo(self._junction.timezone)
            kept = driving.replace(self._new_lights(now_s, before_s), now_s, self._local())
            self._recall(driving, now_s)
            if self._contacts is not None:
                self._contacts.forget(now_s)
            keeps = None if kept is None or not kept[1].accepted else kept[0]
            self._for_records.do(now_s, None, self._record, now_s, False, keeps)
            if kept is not None:
                self._note_kept(*kept, now_s)
            self._remember_good()
            logger.info("the new plans are in force, from start-up on", extra={"action": "config_applied"})

    def _note_kept(self, order: Order, result: OrderResult, now_s: float) -> None:
        """What became of an override under what is configured now."""
        text = f"the override by {order.by} " + (
            "goes on" if result.accepted else f"has ended, since it does not fit any more: {result.reason}"
        )
        level = logging.INFO if result.accepted else logging.WARNING
        logger.log(level, "%s", text, extra={"action": "override_kept" if result.accepted else "override_ended"})
        if self._recording is not None:
            name = logging.getLevelName(level).lower()
            self._for_records.do(now_s, None, self._recording.log, name, "lights_override", text)

    def _judge(self, loaded: SignalsConfig | Exception) -> None:
        """Take the new configuration, if it can be taken while the lights run; else say why not.

        What stands in the file now counts: plans that were read before and have not begun stand nowhere any more.
        """
        if isinstance(loaded, Exception):
            self._refuse(in_words(loaded))
        elif loaded == self._config and not self._lost:
            self._pending = None
            logger.info("the configuration is as it was", extra={"action": "config_same"})
        elif self._lost or needs_restart(loaded, self._config):
            self._refuse("more than plans and times changed: systemctl restart stopline-signals")
        else:
            self._pending = loaded
            logger.info("the new plans come with the next all red", extra={"action": "config_accepted"})

    def _refuse(self, why: str) -> None:
        """The lights go on as they are, and what waits for the next all red is taken back."""
        if self._pending is not None:
            self._pending = None
            why += (
                "\nwhat was accepted before, and was to come with the next all red, is in the file no more, and "
                "does not come"
            )
        logger.error(
            "the configuration is refused, the lights go on:\n%s", why, extra={"action": "config_refused"}
        )
        if self._recording is not None:
            now_s = monotonic_s()
            self._for_records.do(now_s, None, self._recording.log, "error", "lights_config_refused", why)

    # --- what the lights do not depend on ---

    def _open_next(self, now_s: float) -> bool:
        """The next thing that the lights do not depend on; whether that went well. What fails is tried again."""
        if self._contacts is None and self._config.contacts:
            # Whatever becomes of them keeps nothing else waiting.
            self._for_contacts.do(now_s, None, self._open_contacts)
        if self._recording is None:
            self._for_records.do(now_s, None, self._open_records, now_s)
            return self._recording is not None
        if self._link is None:
            self._for_link.do(now_s, None, self._open_link)
            return self._link is not None
        if not self._is_settled:
            self._is_settled = True
            settle()
            if not self._lost:
                self._remember_good()
        return True

    def _open_records(self, now_s: float) -> None:
        self._clock = Clock()
        self._spool = Spool(Path(self._config.state_dir) / _SPOOL_NAME)
        self._record(now_s, True)

    def _record(self, now_s: float, began: bool, keeps: Order | None = None) -> None:
        if self._clock is None or self._spool is None:
            return
        began = began and self._is_first_of_boot(self._clock.boot_id)
        self._recording = Recording(self._junction, self._clock, self._spool, now_s, began=began, keeps=keeps)
        for text in late_plans(self._junction):
            logger.warning("%s", text, extra={"action": "plan_late"})
            self._recording.log("warning", "lights_plan_late", text)

    def _is_first_of_boot(self, boot_id: str) -> bool:
        """Whether the machine was started since the lights last began."""
        path = Path(self._config.state_dir) / "boot"
        with contextlib.suppress(OSError):
            if path.read_text() == boot_id:
                return False
        with contextlib.suppress(OSError):
            path.write_text(boot_id)
        return True

    def _open_link(self) -> None:
        if self._spool is None:
            return
        config = self._config
        link = AgentLink(Path(config.socket), self._spool, self._junction.name, config.socket_group)
        link.open()
        self._link = link

    def _open_contacts(self) -> None:
        # Who has none needs no memory for them.
        from edge_agent.signals.contacts import LOOK_S, open_contacts

        contacts = open_contacts(self._config.contacts)
        self._contacts, self._wait = contacts, looking(lambda: contacts.look(monotonic_s()), LOOK_S)

    def _remember_good(self) -> None:
        """Keep the configuration for a start without one; in a thread, since the disk may be slow."""
        path, config = Path(self._config.state_dir) / LAST_GOOD_NAME, self._config

        before = self._remembers

        def write() -> None:
            if before is not None:
                # Two at once would write into one another.
                before.join()
            try:
                write_safely(path, msgspec.json.encode(config))
            except (OSError, ValueError) as error:
                # A path may hold bytes that are no text.
                logger.warning("%s cannot be written: %s", path, error, extra={"action": "last_good_unwritable"})

        self._remembers = Thread(target=write, name="last-good", daemon=True)
        self._remembers.start()

    def _close(self) -> None:
        logger.info("stopped; %s", self._lateness, extra={"action": "stopped", **self._lateness.figures()})
        with contextlib.ExitStack() as ends:
            ends.callback(self._memory.close)
            if self._spool is not None:
                ends.callback(self._spool.close)
            if self._link is not None:
                ends.callback(self._link.close)
