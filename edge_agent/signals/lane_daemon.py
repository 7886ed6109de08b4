"""A lane's whole daemon: its one head, shown as the junction's coordinator lets it."""

import contextlib
import logging
import signal
import time
from collections.abc import Collection
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import msgspec

from common.codes import Aspect
from common.commands import ClearFault, OrderResult
from common.notify import notify, watchdog_interval_s
from common.topics import LEASE
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.leases import Obeyed, lease_times
from edge_agent.domain.signals.steps import FaultCode
from edge_agent.drivers.base import HeadsError, SignalHeads
from edge_agent.link.messages import TOO_LATE, Ask, OrderAnswer
from edge_agent.link.server import LinkServer
from edge_agent.mqtt.speaking import NoBus
from edge_agent.safe_file import written
from edge_agent.signals.aside import Aside
from edge_agent.signals.broker import connect, speaker_for
from edge_agent.signals.config import SignalsConfig
from edge_agent.signals.lane_pi import LanePi, will_of
from edge_agent.signals.loop import STEP_S, Tick, monotonic_s, ticks
from edge_agent.signals.memory import RETRY_S, Kept, KeptFault, Memory
from edge_agent.signals.priority import settle

logger = logging.getLogger(__name__)

OBEYS_NAME = "lease-obeys.json"
STOP_S = 15.0
_HANG_UP_S = 2.0


def run_lane(config: SignalsConfig, heads: SignalHeads, signals: Collection[int]) -> None:
    """Drive one head until a signal ends it; then its green ends with its lease, and red is left.

    Raises:
        HeadsError: the broker's settings cannot be used.
    """
    daemon = LaneDaemon(config, heads)
    try:
        # The head is red, and no step can be late yet.
        daemon.settle()
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
        self._unsaved: Obeyed | None = None
        self._saves: Thread | None = None
        self._memory = Memory(Path(config.state_dir))
        self._kept = self._memory.load()
        self._speaker = speaker_for(config, self._head)
        topic = LEASE.topic(config.described.name, self._head)
        will = will_of(self._speaker, self._head)
        self._speaker.bus = connect(config, self._head, [(topic, LEASE.qos)], will)
        self._server = LinkServer(Path(config.socket), group=config.socket_group)
        self._for_link, self._is_linked = Aside("the link to the agent"), False
        self._pi: LanePi | None = None
        self._stop_from_s: float | None = None
        self._hangs_up: Thread | None = None
        self._watchdog_s, self._fed_s = watchdog_interval_s(), float("-inf")

    def settle(self) -> None:
        """What takes a while, and no step has to wait for."""
        self._is_linked = self._for_link.do(monotonic_s(), False, self._open_link)
        settle()

    def tick(self, tick: Tick) -> bool:
        """One step; whether it was the last."""
        now_s = tick.now_s
        if self._pi is None:
            self._pi = self._begin(now_s)
            notify(f"READY=1\nSTATUS=drives {self._head} of {self._config.described.name}")
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
        self._keep(self._pi)
        took_it = self._pi.heads_took_it
        if took_it and self._watchdog_s is not None and now_s - self._fed_s >= self._watchdog_s / 2:
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
        self._memory.close()

    def _begin(self, now_s: float) -> LanePi:
        limits = Limits(late_step_s=STEP_S + self._config.loop.late_s)
        pi = LanePi(
            self._config.described,
            self._head,
            self._lane.movement,
            self._heads,
            self._speaker,
            now_s,
            clock=monotonic_s,
            save=self._save,
            obeys=self._read_obeys(),
            times=lease_times(limits.late_step_s),
            limits=limits,
        )
        if self._kept.fault is not None:
            pi.report(self._kept.fault.code, self._kept.fault.detail, now_s)
        return pi

    def _keep(self, pi: LanePi) -> None:
        """A fault is latched over restarts too; not that the program was slow to end."""
        if self._stop_from_s is not None and pi.fault and pi.fault.code is FaultCode.LATE_STEP:
            return
        fault = KeptFault(pi.fault.code, pi.fault.detail) if pi.fault else None
        if fault != self._kept.fault:
            self._kept = Kept(fault)
            self._memory.keep(self._kept)

    def _read_obeys(self) -> Obeyed | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Obeyed)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s cannot be read: %s", self._path, error, extra={"action": "obeys_lost"})
            return None

    def _save(self, obeys: Obeyed) -> None:
        """In a thread: until it is done nothing is asked, and so nothing is green. A disk that refuses is asked
        again, and the last word is written last."""
        self._unsaved = obeys
        self._saves = Thread(target=self._write, args=(obeys, self._saves), name="obeys", daemon=True)
        self._saves.start()

    def _write(self, obeys: Obeyed, before: Thread | None) -> None:
        if before is not None:
            # Two at once would write into one another.
            before.join()
        while self._unsaved == obeys:
            if written(self._path, msgspec.json.encode(obeys)):
                self._saved.put(obeys)
                return
            time.sleep(RETRY_S)

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
