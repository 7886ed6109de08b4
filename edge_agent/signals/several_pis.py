"""Several Pis at one junction, for the root: a coordinator's heads at other Pis, and a lane's whole daemon."""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from uuid import UUID

import msgspec

from common import __version__, topics
from common.brokers import Broker, MqttUnusable
from common.codes import Aspect
from common.commands import ClearFault, OrderResult
from common.junction import DetectorKind, Junction
from common.notify import notify, watchdog_interval_s
from common.topics import CAR_COUNTS, JUNCTION_STATUS, LEASE, LEASE_ASK, CarCounts, GreenTime, JunctionStatus
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.leases import LEASE_TIMES, Obeyed
from edge_agent.drivers.base import HeadsError, SignalHeads
from edge_agent.drivers.heads.lanes import LaneLink, LanesHeads
from edge_agent.link.messages import TOO_LATE, Ask, Crossing, OrderAnswer, Presence, SensorState
from edge_agent.link.server import LinkServer
from edge_agent.mqtt.client import Client, Will
from edge_agent.mqtt.speaking import NoBus, Speaker, topic_of
from edge_agent.safe_file import write_safely
from edge_agent.signals.aside import Aside
from edge_agent.signals.config import MqttSettings, SignalsConfig
from edge_agent.signals.driving import Driven
from edge_agent.signals.lane_pi import LanePi, will_of
from edge_agent.signals.loop import STEP_S, Tick, ticks
from edge_agent.signals.priority import settle

logger = logging.getLogger(__name__)

COORDINATOR = "coordinator"
STATUS_EVERY_S = 30.0
TERM_NAME, OBEYS_NAME = "lease-term", "lease-obeys.json"
STOP_S = 15.0
_MAX_BOOTS = 8
_HANG_UP_S = 2.0
_TERMS_FROM_S = 1_767_225_600
"""2026-01-01 UTC. A term is the seconds since, or one more than the last one where that is higher: newer than all
before though the disk be a new one, as long as the clock is right; where it is not, the disk knows."""


class Lanes(LanesHeads):
    """`LanesHeads` that also hand on what lanes count, and tell lanes and people how the junction is."""

    def __init__(self, junction: Junction, link: LaneLink, speaker: Speaker) -> None:
        super().__init__(junction, link, speaker)
        self._voice = speaker
        self._stop_lines = _stop_lines(junction)
        self._movement_of = {lane: one.name for one in junction.movements for lane in one.lanes}
        self._cycles = {movement.name: _Cycle() for movement in junction.movements}
        self._status: tuple[object, ...] = ()
        self._status_s = float("-inf")
        self._n_crossed: dict[tuple[str, UUID], dict[UUID, int]] = {}

    def sensed(self, boot_ns: int) -> list[Crossing | Presence | SensorState]:
        """See `driving.ManyPis`."""
        found: list[Crossing | Presence | SensorState] = []
        for told in self.counts():
            if told.lane in self._stop_lines:
                sensor, source = self._stop_lines[told.lane]
                found += [Crossing(sensor=sensor, source=source, at_ns=boot_ns)] * self._news_in(told)
                why_not = "" if told.n is not None else f"the Pi of lane {told.lane} does not measure"
                found.append(SensorState(sensor=sensor, at_ns=boot_ns, measures=not why_not, why_not=why_not))
        return found

    def tell(self, driven: Driven) -> None:
        """See `driving.ManyPis`."""
        for name, aspect in driven.aspects.items():
            ended = self._cycles[name].step(aspect, driven.now_s)
            if ended is not None:
                self._tell_green(name, ended, driven)
        fault = f"{driven.fault.code}: {driven.fault.detail}"[:1000] if driven.fault else None
        status = (driven.decision.mode, fault)
        if status != self._status or driven.now_s - self._status_s >= STATUS_EVERY_S:
            self._status, self._status_s = status, driven.now_s
            mode = driven.decision.mode
            self._voice.say(
                self._voice.make(
                    JunctionStatus, self.epoch, online=True, mode=mode, fault=fault, version=__version__
                )
            )

    def _tell_green(self, movement: str, ended: Mapping[str, Any], driven: Driven) -> None:
        decision = driven.decision
        for lane, name in self._movement_of.items():
            if name == movement:
                self._voice.say(
                    self._voice.make(
                        GreenTime,
                        self.epoch,
                        lane=lane,
                        mode=decision.mode,
                        algorithm=decision.algorithm or "none",
                        **ended,
                    )
                )

    def _news_in(self, told: CarCounts) -> int:
        """How many crossed since the last message; those of lost messages too, since counts count up."""
        known = self._n_crossed.setdefault((told.lane, told.device), {})
        # Of the first start that is heard of, nobody knows which of its counts an earlier coordinator took.
        before = known.pop(told.boot_id, 0 if known else max(0, told.n_since_boot - (told.n or 0)))
        known[told.boot_id] = max(before, told.n_since_boot)
        if len(known) > _MAX_BOOTS:
            del known[next(iter(known))]
        return max(0, told.n_since_boot - before)


class _Cycle:
    """One movement's green, yellow and red, from the beginning of one green to the next."""

    def __init__(self) -> None:
        self._s: dict[Aspect, float] | None = None
        self._aspect, self._since_s = Aspect.RED, 0.0

    def step(self, aspect: Aspect, now_s: float) -> dict[str, float] | None:
        """What the cycle was that has just ended; None: none has."""
        if aspect is self._aspect:
            return None
        if self._s is not None:
            self._s[self._aspect] = self._s.get(self._aspect, 0.0) + now_s - self._since_s
        self._aspect, self._since_s = aspect, now_s
        if aspect not in (Aspect.RED, Aspect.YELLOW, Aspect.GREEN):
            self._s = None
        if aspect is not Aspect.GREEN:
            return None
        ended, self._s = self._s, {}
        if ended is None:
            return None
        green_s, yellow_s, red_s = (ended.get(one, 0.0) for one in (Aspect.GREEN, Aspect.YELLOW, Aspect.RED))
        cycle_s = green_s + yellow_s + red_s
        return {"cycle_s": cycle_s, "green_s": green_s, "yellow_s": yellow_s, "red_s": red_s}


def open_lanes(config: SignalsConfig) -> Lanes:
    """The heads at other Pis, with a term that is newer than any before.

    Raises:
        HeadsError: the broker's settings cannot be used, or the term cannot be written: lanes would obey a dead
            coordinator.
    """
    junction, path = config.described, Path(config.state_dir) / TERM_NAME
    epoch = _next_term(path)
    speaker = _speaker(config, COORDINATOR)
    will = speaker.make(JunctionStatus, epoch, online=False)
    channels = (LEASE_ASK, CAR_COUNTS)
    subscriptions = [(channel.subscription(junction.name), channel.qos) for channel in channels]
    said = Will(topic_of(JUNCTION_STATUS, will), topics.write(will), JUNCTION_STATUS.qos, JUNCTION_STATUS.retain)
    speaker.bus = _connect(config, COORDINATOR, subscriptions, said)
    heads = dict(config.heads.lanes) or {movement.name: movement.name for movement in junction.movements}

    def superseded(by: int) -> None:
        """A start after this one is to be newer than that one."""
        Thread(target=_write, args=(path, str(by).encode()), name="term", daemon=True).start()

    # A lane's step may be late by as much as ours: once at the end of its green, once at the end of its yellow.
    times = replace(LEASE_TIMES, guard_s=2.0 * (STEP_S + config.loop.late_s))
    return Lanes(junction, LaneLink(heads, epoch, times, superseded=superseded), speaker)


def _next_term(path: Path) -> int:
    try:
        last = int(path.read_text())
    except FileNotFoundError:
        last = 0
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read: %s; the clock decides", path, error, extra={"action": "term_lost"})
        last = 0
    term = max(last + 1, int(time.time()) - _TERMS_FROM_S)
    try:
        write_safely(path, str(term).encode())
    except OSError as error:
        raise HeadsError(
            f"{path} cannot be written: {error.strerror}; lanes could obey an old coordinator"
        ) from error
    return term


def _write(path: Path, data: bytes) -> bool:
    try:
        write_safely(path, data)
    except OSError as error:
        logger.warning("%s cannot be written: %s", path, error, extra={"action": "term_unwritable"})
        return False
    return True


def _speaker(config: SignalsConfig, place: str) -> Speaker:
    flat = config.mqtt is not None and config.mqtt.flat_topics
    return Speaker(NoBus(), config.described.name, place, flat=flat)


def _connect(config: SignalsConfig, place: str, subscriptions: list[tuple[str, topics.Qos]], will: Will) -> Client:
    if config.mqtt is None:
        raise HeadsError("no broker is named: give [mqtt] host")
    try:
        client_id = f"stopline-{topics.encode(config.described.name)}-{topics.encode(place)}"
        client = Client(_broker(config.mqtt), client_id, subscriptions, will=will)
    except MqttUnusable as error:
        raise HeadsError(str(error)) from error
    client.open()
    return client


def try_broker(mqtt: MqttSettings, patience_s: float = 10.0) -> str:
    """Connect, and hang up; why that was not possible, or nothing."""
    try:
        client = Client(_broker(mqtt), f"stopline-check-{os.getpid()}", [])
    except MqttUnusable as error:
        return str(error)
    client.open()
    until_s = time.monotonic() + patience_s
    while not client.is_connected and not client.why_not and time.monotonic() < until_s:
        time.sleep(0.02)
    found = "" if client.is_connected else client.why_not or f"no answer within {patience_s:g} s"
    client.close()
    return found


def _broker(mqtt: MqttSettings) -> Broker:
    ca_file, cert_file, key_file = (path and Path(path) for path in (mqtt.ca_file, mqtt.cert_file, mqtt.key_file))
    return Broker(
        mqtt.host,
        mqtt.port,
        mqtt.tls,
        ca_file or None,
        cert_file or None,
        key_file or None,
        mqtt.username,
        mqtt.password,
    )


def _stop_lines(junction: Junction) -> dict[str, tuple[str, str]]:
    """Of each lane, the sensor and source that its Pi's counts stand for."""
    found: dict[str, tuple[str, str]] = {}
    for one in junction.detectors:
        if one.kind is DetectorKind.STOP_LINE:
            found.setdefault(one.lane, (one.sensor, one.source))
    return found


# --- a lane's Pi ---


def run_lane(config: SignalsConfig, heads: SignalHeads, signals: Collection[int]) -> None:
    """Drive one head until a signal ends it; then its green ends with its lease, and red is left.

    Raises:
        HeadsError: the broker's settings cannot be used.
    """
    daemon = LaneDaemon(config, heads)
    try:
        for tick in ticks(signals):
            if daemon.tick(tick):
                break
    finally:
        # First of all: what follows may take a while, or fail.
        heads.fail_safe()
        notify("STOPPING=1")
        daemon.close()


class LaneDaemon:
    """A lane's head, its connections, and its link to the agent of the same Pi."""

    def __init__(self, config: SignalsConfig, heads: SignalHeads) -> None:
        if config.lane is None:
            raise HeadsError("this configuration is not a lane's: it has no [lane]")
        self._config, self._heads, self._lane = config, heads, config.lane
        self._head = config.lane.head or config.lane.movement
        self._path = Path(config.state_dir) / OBEYS_NAME
        self._saved: SimpleQueue[Obeyed] = SimpleQueue()
        self._speaker = _speaker(config, self._head)
        topic = LEASE.topic(config.described.name, self._head)
        will = will_of(self._speaker, self._head)
        self._speaker.bus = _connect(config, self._head, [(topic, LEASE.qos)], will)
        self._server = LinkServer(Path(config.socket), group=config.socket_group)
        self._for_link, self._is_linked = Aside("the link to the agent"), False
        self._pi: LanePi | None = None
        self._stop_from_s: float | None = None
        self._hangs_up: Thread | None = None
        self._watchdog_s, self._fed_s = watchdog_interval_s(), float("-inf")

    def tick(self, tick: Tick) -> bool:
        """One step; whether it was the last."""
        now_s = tick.now_s
        if self._pi is None:
            self._pi = self._begin(now_s)
            notify(f"READY=1\nSTATUS=drives {self._head} of {self._config.described.name}")
            settle()
        if tick.signals & {signal.SIGTERM, signal.SIGINT}:
            if self._stop_from_s is not None:
                return True
            self._stop_from_s = now_s
            # Without a voice no lease is renewed: green ends as it does when the coordinator is gone.
            # Aside: to hang up may take a second or more, and the green has to end in time.
            self._hangs_up = Thread(target=self._speaker.bus.close, name="hang-up", daemon=True)
            self._hangs_up.start()
            self._speaker.bus = NoBus()
        with contextlib.suppress(Empty):
            self._pi.saved(self._saved.get_nowait())
        self._hear(self._pi, now_s)
        self._pi.step(now_s)
        if self._watchdog_s is not None and now_s - self._fed_s >= self._watchdog_s / 2:
            self._fed_s = now_s
            with contextlib.suppress(OSError):
                notify("WATCHDOG=1")
        if self._stop_from_s is None:
            return False
        return self._pi.aspect not in (Aspect.GREEN, Aspect.YELLOW) or now_s - self._stop_from_s >= STOP_S

    def close(self) -> None:
        """Hang up."""
        if self._hangs_up is not None:
            self._hangs_up.join(_HANG_UP_S)
        self._speaker.bus.close()
        self._server.close()

    def _begin(self, now_s: float) -> LanePi:
        limits = Limits(late_step_s=STEP_S + self._config.loop.late_s)
        return LanePi(
            self._config.described,
            self._head,
            self._lane.movement,
            self._heads,
            self._speaker,
            now_s,
            save=self._save,
            obeys=self._read_obeys(),
            limits=limits,
        )

    def _read_obeys(self) -> Obeyed | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Obeyed)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s cannot be read: %s", self._path, error, extra={"action": "obeys_lost"})
            return None

    def _save(self, obeys: Obeyed) -> None:
        """In a thread: until it is done nothing is asked, and so nothing is green."""

        def save() -> None:
            if _write(self._path, msgspec.json.encode(obeys)):
                self._saved.put(obeys)

        Thread(target=save, name="obeys", daemon=True).start()

    def _hear(self, pi: LanePi, now_s: float) -> None:
        if not self._is_linked:
            self._is_linked = self._for_link.do(now_s, False, self._open_link)
            return
        for peer, message in self._for_link.do(now_s, [], self._server.poll):
            if isinstance(message, Ask):
                self._server.tell(OrderAnswer(id=message.id, result=_ordered(pi, message, now_s)), peer)
            else:
                pi.sense([message], now_s)

    def _open_link(self) -> bool:
        self._server.open()
        return True


def _ordered(pi: LanePi, ask: Ask, now_s: float) -> OrderResult:
    """What becomes of an order at a lane's Pi."""
    if not isinstance(ask.order, ClearFault):
        return OrderResult(accepted=False, reason="this is a lane's Pi; order it at the coordinator")
    if ask.is_late(time.clock_gettime_ns(time.CLOCK_BOOTTIME)):
        return TOO_LATE
    return pi.clear(now_s, ask.order.fault)
