"""Several Pis at one junction, for the root: a coordinator's heads at other Pis."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

from common import __version__, topics
from common.codes import Aspect
from common.junction import DetectorKind, Junction
from common.topics import CAR_COUNTS, JUNCTION_STATUS, LEASE_ASK, CarCounts, GreenTime, JunctionStatus
from edge_agent.domain.signals.leases import lease_times
from edge_agent.drivers.base import HeadsError
from edge_agent.drivers.heads.lanes import LaneLink, LanesHeads
from edge_agent.link.messages import Crossing, Presence, SensorState
from edge_agent.mqtt.client import Will
from edge_agent.mqtt.speaking import Speaker, topic_of
from edge_agent.safe_file import write_safely, written
from edge_agent.signals.broker import connect, speaker_for
from edge_agent.signals.config import SignalsConfig
from edge_agent.signals.driving import Driven
from edge_agent.signals.loop import STEP_S, monotonic_s

logger = logging.getLogger(__name__)

COORDINATOR = "coordinator"
STATUS_EVERY_S = 30.0
TERM_NAME = "lease-term"
_MAX_BOOTS, _MAX_DEVICES = 8, 256
_MAX_AT_ONCE = 20
"""So many vehicles of one lane are handed on in a step; there are more only after messages were lost."""
_MAX_OWED = 5000
"""More than passed in any outage that matters; what a lane tells beyond that is no count."""
_TERMS_FROM_S = 1_767_225_600
"""2026-01-01 UTC. A term is the seconds since, or one more than the last one where that is higher: newer than all
before though the disk be a new one, as long as the clock is right; where it is not, the disk knows."""


class Lanes(LanesHeads):
    """`LanesHeads` that also hand on what lanes count, and tell lanes and people how the junction is."""

    def __init__(self, junction: Junction, link: LaneLink, speaker: Speaker, clock: Callable[[], float]) -> None:
        super().__init__(junction, link, speaker, clock)
        self._voice = speaker
        self._stop_lines = _stop_lines(junction)
        self._movement_of = {lane: one.name for one in junction.movements for lane in one.lanes}
        self._cycles = {movement.name: _Cycle() for movement in junction.movements}
        self._status: tuple[object, ...] = ()
        self._status_s = float("-inf")
        self._n_crossed: dict[tuple[str, UUID], dict[UUID, int]] = {}
        self._owed: Counter[str] = Counter()

    def sensed(self, boot_ns: int) -> list[Crossing | Presence | SensorState]:
        """See `driving.ManyPis`."""
        found: list[Crossing | Presence | SensorState] = []
        for told in self.counts():
            if told.lane in self._stop_lines:
                sensor, _ = self._stop_lines[told.lane]
                self._owed[told.lane] = min(self._owed[told.lane] + self._news_in(told), _MAX_OWED)
                why_not = "" if told.n is not None else f"the Pi of lane {told.lane} does not measure"
                found.append(SensorState(sensor=sensor, at_ns=boot_ns, measures=not why_not, why_not=why_not))
        for lane, owed in self._owed.items():
            sensor, source = self._stop_lines[lane]
            now = min(owed, _MAX_AT_ONCE)
            found += [Crossing(sensor=sensor, source=source, at_ns=boot_ns)] * now
            self._owed[lane] -= now
        return found

    def tell(self, driven: Driven) -> None:
        """See `driving.ManyPis`."""
        for name, aspect in driven.aspects.items():
            ended = self._cycles[name].step(aspect, driven.now_s)
            if ended is not None:
                self._tell_green(name, ended, driven)
        fault = str(driven.fault)[:1000] if driven.fault else None
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
        if len(self._n_crossed) > _MAX_DEVICES:
            del self._n_crossed[next(iter(self._n_crossed))]
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
    speaker = speaker_for(config, COORDINATOR)
    will = speaker.make(JunctionStatus, epoch, online=False)
    channels = (LEASE_ASK, CAR_COUNTS)
    subscriptions = [(channel.subscription(junction.name), channel.qos) for channel in channels]
    said = Will(topic_of(JUNCTION_STATUS, will), topics.write(will), JUNCTION_STATUS.qos, JUNCTION_STATUS.retain)
    speaker.bus = connect(config, COORDINATOR, subscriptions, said)
    heads = dict(config.heads.lanes) or {movement.name: movement.name for movement in junction.movements}

    def superseded(by: int) -> None:
        """A start after this one is to be newer than that one."""
        Thread(target=written, args=(path, str(by).encode()), name="term", daemon=True).start()

    times = lease_times(STEP_S + config.loop.late_s)
    return Lanes(junction, LaneLink(heads, epoch, times, superseded=superseded), speaker, monotonic_s)


def _next_term(path: Path) -> int:
    try:
        last = int(path.read_text())
        if not 0 <= last < topics.MOST_TERM:
            raise ValueError(f"it holds {last}, which is no term")
    except FileNotFoundError:
        last = 0
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read: %s; the clock decides", path, error, extra={"action": "term_lost"})
        last = 0
    term = min(max(last + 1, int(time.time()) - _TERMS_FROM_S), topics.MOST_TERM)
    try:
        write_safely(path, str(term).encode())
    except OSError as error:
        raise HeadsError(
            f"{path} cannot be written: {error.strerror}; lanes could obey an old coordinator"
        ) from error
    return term


def _stop_lines(junction: Junction) -> dict[str, tuple[str, str]]:
    """Of each lane, the sensor and source that its Pi's counts stand for."""
    found: dict[str, tuple[str, str]] = {}
    for one in junction.detectors:
        if one.kind is DetectorKind.STOP_LINE:
            found.setdefault(one.lane, (one.sensor, one.source))
    return found
