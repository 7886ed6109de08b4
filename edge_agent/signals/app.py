"""The root of the lights' daemon: opens heads, lights, memory, records and link, steps them, and closes them.

The heads come first, red before anything else is tried; what the lights do not depend on comes after the first
step, and may fail. Whatever ends the process, the heads are left red: by `close` here, and after kill -9 by the
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
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from zoneinfo import ZoneInfo

import msgspec

from common.clock import FLOOR_MS
from common.codes import Aspect
from common.commands import ClearFault, Flash, Off, Order, OrderResult, Preempt
from common.junction import Junction
from common.notify import notify, watchdog_interval_s
from edge_agent.clock_source import Clock
from edge_agent.config.faults import ConfigError
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.schedule import Local
from edge_agent.domain.signals.steps import FaultCode, Interval, Lane
from edge_agent.drivers.base import SignalHeads
from edge_agent.link.messages import OrderAnswer
from edge_agent.link.spool import Spool
from edge_agent.signals.agent_link import AgentLink, Sensed, in_words
from edge_agent.signals.aside import Aside
from edge_agent.signals.config import SignalsConfig, wiring_of
from edge_agent.signals.driving import Driven, Driving, ManyPis
from edge_agent.signals.loop import STEP_S, Lateness, Tick, ticks
from edge_agent.signals.memory import LAST_GOOD_NAME, HeadsLock, Kept, KeptFault, Memory, write_safely
from edge_agent.signals.priority import settle
from edge_agent.signals.recording import Recording
from edge_agent.signals.senses import Senses, ladder

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOP_S = 15.0
_SPARE_S = 1.0
"""For steps."""
_SPOOL_NAME = "spool.sqlite"
_REPORT_S = 3600.0
_MAX_ORDERS = 8
"""So many are carried out in a step; a flood of them must not make it late."""
_STILL = (Interval.FLASH, Interval.OFF, Interval.START_UP)
"""Nobody has green, nor had it until just now."""

Load = Callable[[], SignalsConfig]
"""Reads the configuration again; raises ConfigError."""


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
    lock = HeadsLock(Path(config.state_dir))
    lock.take()
    try:
        heads = (open_heads or open_configured_heads)(config)
        if config.lane is not None:
            from edge_agent.signals.several_pis import run_lane

            run_lane(config, heads, SIGNALS)
            return
        try:
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
        self._config, self._heads, self._load, self._lost = config, heads, load, lost
        self._junction = config.described
        self._zone = ZoneInfo(self._junction.timezone)
        self._memory = Memory(Path(config.state_dir))
        self._kept = self._memory.load()
        self._green: set[str] = set()
        self._driving: Driving | None = None
        self._is_fresh = False
        self._lateness = Lateness()
        self._watchdog = _Watchdog()
        self._report_s: float | None = None
        self._stop_from_s: float | None = None
        self._loaded: SimpleQueue[SignalsConfig | ConfigError] = SimpleQueue()
        self._is_to_load = False
        self._loads: Thread | None = None
        self._remembers: Thread | None = None
        self._pending: SignalsConfig | None = None
        # What the lights do not depend on; opened after the first step.
        self._for_link, self._for_senses, self._for_records = (
            Aside("the link to the agent"),
            Aside("what sensors tell"),
            Aside("the lights' records"),
        )
        self._for_lanes = Aside("what the lanes are told")
        self._clock: Clock | None = None
        self._spool: Spool | None = None
        self._link: AgentLink | None = None
        self._recording: Recording | None = None
        self._senses: Senses | None = None

    def run(self) -> None:
        """Step until a signal ends it."""
        try:
            for tick in ticks(SIGNALS):
                if self._tick(tick):
                    break
        finally:
            # First of all: what follows may take a while, or fail.
            self._heads.fail_safe()
            notify("STOPPING=1")
            self._close()

    def _tick(self, tick: Tick) -> bool:
        """One step; whether it was the last."""
        now_s = tick.now_s
        self._lateness.add(tick.late_s)
        if self._driving is None:
            self._driving = self._begin(now_s)
            self._show(self._driving, now_s, [])
            self._open_aside(now_s)
            settle()
            self._is_fresh = True
            return False
        if self._is_fresh:
            # To open files may take long while a machine starts. Nobody had green yet: that is no late step, but a
            # beginning that comes later.
            self._is_fresh = False
            self._keep_fault(self._driving)
            self._driving = self._begin(now_s)
        sensed = self._hear(self._driving, now_s)
        self._take_signals(tick, self._driving)
        self._take_loaded(self._driving, now_s)
        driven = self._show(self._driving, now_s, sensed)
        self._report(now_s)
        return self._has_stopped(driven, tick)

    def _begin(self, now_s: float) -> Driving:
        """Lights from their beginning, with what they have to remember."""
        driving = Driving(self._new_lights(now_s), self._heads, [one.name for one in self._junction.movements])
        self._recall(driving, now_s)
        return driving

    def _new_lights(self, now_s: float) -> Lights:
        limits = Limits(late_step_s=STEP_S + self._config.loop.late_s)
        self._senses = self._for_senses.do(now_s, None, Senses, self._junction, now_s)
        choose = self._for_senses.do(now_s, None, ladder, self._junction)
        return Lights(self._junction, now_s, choose=choose, limits=limits)

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
        self._senses.take(sensed)
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
            # It could not be opened: another try, now and then.
            self._for_link.do(now_s, None, self._open_link)
            return counted
        sensed, asked = self._for_link.do(now_s, ([], []), self._link.poll)
        for number, (peer, ask) in enumerate(asked):
            if number >= _MAX_ORDERS:
                refused = OrderResult(accepted=False, reason="too many orders at once; give it again")
                self._for_link.do(now_s, None, self._link.answer, peer, OrderAnswer(id=ask.id, result=refused))
                continue
            result = self._order(driving, ask.order, now_s)
            logger.info(
                "%s by %s: %s",
                *(type(ask.order).__name__, ask.order.by, "accepted" if result.accepted else result.reason),
                extra={"action": "order"},
            )
            if result.accepted and not isinstance(ask.order, Preempt | ClearFault):
                standing = ask.order if isinstance(ask.order, Flash | Off) else None
                self._kept = Kept(self._kept.fault, standing)
                self._memory.keep(self._kept)
            self._for_link.do(now_s, None, self._link.answer, peer, OrderAnswer(id=ask.id, result=result))
        return [*counted, *sensed]

    def _order(self, driving: Driving, order: Order, now_s: float) -> OrderResult:
        """While the lights end, none: a green that came again would be cut short."""
        if self._stop_from_s is not None:
            return OrderResult(accepted=False, reason="the lights' daemon is being stopped; order it when it runs")
        return driving.order(order, now_s)

    def _tell(self, driven: Driven, lanes: Sequence[Lane] | None) -> None:
        now_s = driven.now_s
        if isinstance(self._heads, ManyPis):
            self._for_lanes.do(now_s, None, self._heads.tell, driven)
        if self._recording is not None:
            told, passages = self._senses.told() if self._senses is not None else ([], [])
            self._for_records.do(now_s, None, self._recording.step, driven, lanes, told, passages)
        if self._link is not None:
            self._for_link.do(now_s, None, self._link.show, driven, self._note(driven))
            self._for_link.do(now_s, None, self._link.hand_over)

    def _note(self, driven: Driven) -> str:
        asides = (self._for_records.trouble, self._for_senses.trouble, (self._spool and self._spool.trouble) or "")
        return "; ".join(part for part in (driven.decision.note, *asides) if part)

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
        self._is_to_load |= signal.SIGHUP in tick.signals
        if self._is_to_load and (self._loads is None or not self._loads.is_alive()):
            # One at a time: many would hold up the lights, and an older file could come last.
            self._is_to_load = False
            self._loads = Thread(target=self._load_aside, name="reload", daemon=True)
            self._loads.start()
        if self._stop_from_s is None and tick.signals & {signal.SIGTERM, signal.SIGINT}:
            logger.info("stopping: greens end, then all is red", extra={"action": "stopping"})
            self._stop_from_s = tick.now_s
            driving.order(Flash(by="the daemon", why="it is stopped"), tick.now_s)

    def _has_stopped(self, driven: Driven, tick: Tick) -> bool:
        if self._stop_from_s is None:
            return False
        again = tick.now_s > self._stop_from_s and bool(tick.signals & {signal.SIGTERM, signal.SIGINT})
        longest_s = max(STOP_S, *(one.min_green_s + one.yellow_s + _SPARE_S for one in self._junction.movements))
        is_still = driven.decision.interval in _STILL or (self._driving is not None and self._driving.is_red)
        return again or is_still or tick.now_s - self._stop_from_s >= longest_s

    def _load_aside(self) -> None:
        """In a thread: reading and checking takes longer than a step may be late on a small Pi."""
        try:
            self._loaded.put(self._load())
        except ConfigError as error:
            self._loaded.put(error)
        except Exception:
            logger.exception("the configuration could not be read; the lights go on", extra={"action": "refused"})

    def _take_loaded(self, driving: Driving, now_s: float) -> None:
        with contextlib.suppress(Empty):
            self._judge(self._loaded.get_nowait())
        if self._pending is not None and driving.is_red:
            self._keep_fault(driving)
            self._config, self._pending = self._pending, None
            self._junction = self._config.described
            self._zone = ZoneInfo(self._junction.timezone)
            driving.lights = self._new_lights(now_s)
            self._recall(driving, now_s)
            self._for_records.do(now_s, None, self._record, now_s, False)
            self._remember_good()
            logger.info("the new plans are in force, from start-up on", extra={"action": "config_applied"})

    def _judge(self, loaded: SignalsConfig | ConfigError) -> None:
        """Take the new configuration, if it can be taken while the lights run; else say why not."""
        if isinstance(loaded, ConfigError):
            self._refuse(str(loaded))
        elif loaded == self._config and not self._lost:
            logger.info("the configuration is as it was", extra={"action": "config_same"})
        elif self._lost or _needs_restart(loaded, self._config):
            self._refuse("more than plans and times changed: systemctl restart stopline-signals")
        else:
            self._pending = loaded
            logger.info("the new plans come with the next all red", extra={"action": "config_accepted"})

    def _refuse(self, why: str) -> None:
        logger.error(
            "the configuration is refused, the lights go on:\n%s", why, extra={"action": "config_refused"}
        )
        if self._recording is not None:
            now_s = time.monotonic()
            self._for_records.do(now_s, None, self._recording.log, "error", "lights_config_refused", why)

    # --- what the lights do not depend on ---

    def _open_aside(self, now_s: float) -> None:
        self._for_records.do(now_s, None, self._open_records, now_s)
        self._for_link.do(now_s, None, self._open_link)
        if not self._lost:
            self._remember_good()
        notify(f"READY=1\nSTATUS=drives the lights of {self._junction.name}")

    def _open_records(self, now_s: float) -> None:
        self._clock = Clock()
        self._spool = Spool(Path(self._config.state_dir) / _SPOOL_NAME)
        self._record(now_s, True)

    def _record(self, now_s: float, began: bool) -> None:
        if self._clock is None or self._spool is None:
            return
        began = began and self._is_first_of_boot(self._clock.boot_id)
        self._recording = Recording(self._junction, self._clock, self._spool, now_s, began=began)

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

    def _remember_good(self) -> None:
        """Keep the configuration for a start without one; in a thread, since the disk may be slow."""
        path, data = Path(self._config.state_dir) / LAST_GOOD_NAME, msgspec.json.encode(self._config)

        before = self._remembers

        def write() -> None:
            if before is not None:
                # Two at once would write into one another.
                before.join()
            try:
                write_safely(path, data)
            except OSError as error:
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


class _Watchdog:
    """Tells systemd that the lights live: only after a step that the heads took."""

    def __init__(self) -> None:
        self._every_s = watchdog_interval_s()
        self._next_s = float("-inf")
        self._status = ""

    def feed(self, driven: Driven) -> None:
        if self._every_s is None or not driven.heads_took_it or driven.now_s < self._next_s:
            return
        self._next_s = driven.now_s + self._every_s / 2
        decision = driven.decision
        status = in_words(driven.fault) or f"{decision.mode}, plan {decision.plan}"
        news = "" if status == self._status else f"\nSTATUS={status}"
        self._status = status
        with contextlib.suppress(OSError):
            notify(f"WATCHDOG=1{news}")


def _needs_restart(new: SignalsConfig, old: SignalsConfig) -> bool:
    """Whether anything but plans and times of the same junction differs. Lanes' Pis have read their own, and
    leases are held by times and conflicts: there only plans may."""
    if new.heads.driver == "lanes" and (
        new.described.movements != old.described.movements
        or new.described.conflicts != old.described.conflicts
        or new.described.startup != old.described.startup
    ):
        return True
    if msgspec.structs.replace(new, junction=old.junction) != old:
        return True
    return _names(new.described) != _names(old.described)


def _names(junction: Junction) -> tuple[object, ...]:
    return junction.name, tuple(one.name for one in junction.movements)
