"""A junction of several Pis in which everything goes wrong that may go wrong, and a judge who sees all lamps.

Real time is counted in ms. Each party has a clock of its own, which began anywhere and runs too fast or too slow,
and may stand still at any point of a step, as long as that is no fault. The network loses, delays, doubles and
reorders; programs die and come back; a second coordinator may appear.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from common.codes import Aspect
from edge_agent.domain.signals.lease_coordinator import Coordinator, Lane
from edge_agent.domain.signals.lease_head import Head
from edge_agent.domain.signals.leases import Answer, Ask, HeadTimes, LeaseTimes, Obeyed

HEADS = ("a", "b", "c")
STAGES: tuple[set[str] | None, ...] = ({"a", "b"}, {"c"}, set(), None)
"""Who is wanted to be green. None: all are to flash, which cuts greens off."""
CONFLICTS = (("a", "c"), ("c", "b"))
YELLOW_S, CLEARANCE_S, RED_FIRST_S = 3.0, 2.0, 3.0
TIMES = LeaseTimes()
STEP_MS = 100
LATE_MS = 500
"""So long a step may take, wherever it stands still, and so late the next one may be."""


class Unsafe(AssertionError):
    """The judge saw what must never be."""


@dataclass
class Clock:
    """A party's monotonic clock."""

    rate: float
    began_s: float

    def read_s(self, real_ms: int) -> float:
        return self.began_s + real_ms / 1000 * self.rate


@dataclass
class Weather:
    """How bad the network is."""

    loss: float = 0.0
    doubles: float = 0.0
    slow: float = 0.0
    """How many messages take up to `slow_ms` instead of some ms."""
    slow_ms: int = 0


@dataclass
class Judge:
    """Sees all lamps in real time, and nothing of the messages."""

    lamps: dict[str, Aspect] = field(default_factory=lambda: dict.fromkeys(HEADS, Aspect.RED))
    since_ms: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HEADS, -60_000))
    went_ms: dict[str, int] = field(default_factory=lambda: dict.fromkeys(HEADS, -60_000))
    """When traffic had green or yellow last."""
    owed_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(HEADS, 0.0))
    """What its last yellow was short of, since flash or a crash cut it off, or the green before it."""
    n_greens: int = 0
    shortest_yellow_ms: float = YELLOW_S * 1000

    def see(self, head: str, aspect: Aspect, now_ms: int, *, by_crash: bool = False) -> None:
        before = self.lamps[head]
        if aspect is before:
            return
        if aspect is Aspect.GREEN:
            self._check_green(head, now_ms)
            self.n_greens += 1
        lasted_ms = now_ms - self.since_ms[head]
        if before is Aspect.GREEN and aspect is Aspect.RED and not by_crash:
            raise Unsafe(f"{head} went from green to red")
        if (
            before is Aspect.YELLOW
            and aspect is Aspect.RED
            and not by_crash
            and lasted_ms < self.shortest_yellow_ms
        ):
            raise Unsafe(f"{head} was yellow for {lasted_ms} ms")
        if before is Aspect.YELLOW and aspect is Aspect.GREEN:
            raise Unsafe(f"{head} went from yellow to green")
        if before in (Aspect.GREEN, Aspect.YELLOW):
            self.went_ms[head] = now_ms
            had_ms = lasted_ms if before is Aspect.YELLOW else 0
            self.owed_ms[head] = 0.0 if aspect is Aspect.RED and not by_crash else YELLOW_S * 1000 - had_ms
        self.lamps[head], self.since_ms[head] = aspect, now_ms

    def _check_green(self, head: str, now_ms: int) -> None:
        if self.lamps[head] is not Aspect.RED:
            raise Unsafe(f"{head} went from {self.lamps[head]} to green")
        for pair in CONFLICTS:
            if head not in pair:
                continue
            other = pair[0] if pair[1] == head else pair[1]
            red_ms = now_ms - self.went_ms[other]
            if self.lamps[other] in (Aspect.GREEN, Aspect.YELLOW):
                raise Unsafe(f"{head} is green while {other} is {self.lamps[other]}")
            if red_ms < CLEARANCE_S * 1000 + self.owed_ms[other]:
                raise Unsafe(f"{head} is green, and {other} was red for {red_ms} ms only")


@dataclass
class LanePi:
    """A lane's program and what survives it."""

    name: str
    clock: Clock
    head: Head | None = None
    disk: Obeyed | None = None
    life: Iterator[int] = field(default_factory=lambda: iter(()))
    goes_on_ms: int = 0
    inbox: list[Answer] = field(default_factory=list)


@dataclass
class CoordinatorPi:
    """A coordinator's program and what survives it."""

    clock: Clock
    program: Coordinator | None = None
    term: int = 0
    life: Iterator[int] = field(default_factory=lambda: iter(()))
    goes_on_ms: int = 0
    inbox: list[Ask] = field(default_factory=list)


class World:
    """Everything, step by step.

    Args:
        head: how a lane's program is made; a worse one, to see that the judge sees it.
        coordinator: likewise.
        lamps_outlive: what is lit goes on when a program dies: no dead-man.
    """

    def __init__(
        self,
        random: Random,
        *,
        head: Callable[..., Head] = Head,
        coordinator: Callable[..., Coordinator] = Coordinator,
        lamps_outlive: bool = False,
        times: LeaseTimes = TIMES,
        drift: float = TIMES.drift,
    ) -> None:
        self.random, self._make_head, self._make_coordinator = random, head, coordinator
        self._lamps_outlive, self.times, self._drift = lamps_outlive, times, drift
        self.now_ms, self._n_boots, self._term = 0, 0, 0
        self.weather = Weather()
        self.judge = Judge(shortest_yellow_ms=YELLOW_S * 1000 * (1.0 - drift) - 20)
        self.cut: set[tuple[int, str]] = set()
        """Coordinators and heads that do not reach each other."""
        self._net: list[tuple[int, int, Ask | Answer]] = []
        self.lanes = {name: LanePi(name, self._clock()) for name in HEADS}
        self.coordinators = [CoordinatorPi(self._clock())]
        self.stage: set[str] | None = set()
        for name in HEADS:
            self.start_lane(name)
        self.start_coordinator(0)

    def _clock(self) -> Clock:
        rate = self.random.choice((1.0, 1.0 - self._drift, 1.0 + self._drift))
        return Clock(rate, self.random.uniform(0.0, 1e5))

    def _boot(self) -> str:
        self._n_boots += 1
        return f"boot{self._n_boots:04d}"

    def start_lane(self, name: str) -> None:
        """The lane's Pi (re)starts its program; lamps are red as the hardware rests."""
        pi = self.lanes[name]
        pi.inbox.clear()
        if not self._lamps_outlive:
            self.judge.see(name, Aspect.RED, self.now_ms, by_crash=True)
        own = HeadTimes(YELLOW_S, 0.0, RED_FIRST_S)
        pi.head = self._make_head(name, self._boot(), self.times, own, pi.clock.read_s(self.now_ms), pi.disk)
        pi.life, pi.goes_on_ms = self._live_lane(pi, pi.head), self.now_ms

    def kill_lane(self, name: str) -> None:
        self.lanes[name].head = None
        if not self._lamps_outlive:
            self.judge.see(name, Aspect.RED, self.now_ms, by_crash=True)

    def start_coordinator(self, which: int) -> None:
        """With a term that is newer than all before."""
        pi = self.coordinators[which]
        pi.inbox.clear()
        self._term += 1
        pi.term = self._term
        lanes = {name: Lane(name, YELLOW_S, CLEARANCE_S) for name in HEADS}
        me = Obeyed(pi.term, self._boot())
        pi.program = self._make_coordinator(lanes, CONFLICTS, me, self.times, pi.clock.read_s(self.now_ms))
        pi.life, pi.goes_on_ms = self._live_coordinator(which, pi, pi.program), self.now_ms

    def kill_coordinator(self, which: int) -> None:
        self.coordinators[which].program = None

    def add_coordinator(self) -> None:
        self.coordinators.append(CoordinatorPi(self._clock()))
        self.start_coordinator(len(self.coordinators) - 1)

    def run(self, span_ms: int) -> None:
        """So much time passes."""
        end_ms = self.now_ms + span_ms
        while self.now_ms < end_ms:
            self.now_ms += 20
            self._deliver()
            for lane in self.lanes.values():
                while lane.head is not None and self.now_ms >= lane.goes_on_ms:
                    lane.goes_on_ms += next(lane.life)
            for pi in self.coordinators:
                while pi.program is not None and self.now_ms >= pi.goes_on_ms:
                    pi.goes_on_ms += next(pi.life)

    def _live_lane(self, pi: LanePi, head: Head) -> Iterator[int]:
        """Step after step; yields for how many ms it stands still, or sleeps."""
        while True:
            pauses_ms = self._pauses_ms()
            step_s = pi.clock.read_s(self.now_ms)
            for answer in pi.inbox:
                head.hear(answer, step_s)
            pi.inbox.clear()
            head.step(step_s)
            pi.disk = head.obeys
            yield next(pauses_ms)
            self.judge.see(pi.name, head.aspect, self.now_ms)
            yield next(pauses_ms)
            head.lit(step_s, pi.clock.read_s(self.now_ms))
            ask = head.ask(step_s)
            yield next(pauses_ms)
            if ask is not None:
                for which in range(len(self.coordinators)):
                    self._send(which, ask)
            yield next(pauses_ms)

    def _live_coordinator(self, which: int, pi: CoordinatorPi, program: Coordinator) -> Iterator[int]:
        """Likewise."""
        while True:
            pauses_ms = self._pauses_ms()
            step_s = pi.clock.read_s(self.now_ms)
            yield next(pauses_ms)
            wanted = dict.fromkeys(HEADS, Aspect.FLASHING_RED if self.stage is None else Aspect.RED)
            wanted |= dict.fromkeys(self.stage or (), Aspect.GREEN)
            answers: list[Answer | None] = [*program.want(wanted, step_s)]
            yield next(pauses_ms)
            asks, pi.inbox = pi.inbox, []
            heard_s = pi.clock.read_s(self.now_ms)
            yield next(pauses_ms)
            for answer in [*(program.hear(ask, heard_s) for ask in asks), *answers]:
                if answer is not None:
                    self._send(which, answer)
            # Where it forgets what it heard before a hold can be over.
            if self.times.lost_after_s <= TIMES.lost_after_s and program.clash(heard_s):
                raise Unsafe(f"the coordinator hears that {program.clash(heard_s)} go together")
            yield next(pauses_ms)

    def _pauses_ms(self) -> Iterator[int]:
        """The four pauses of a step, mostly one at its end; all together they are no fault."""
        whole_ms = self.random.choice((STEP_MS, STEP_MS, STEP_MS, LATE_MS))
        within_ms = whole_ms if whole_ms > STEP_MS else 20
        cuts_ms = sorted(self.random.randrange(0, within_ms, 20) for _ in range(3))
        return (to_ms - from_ms for from_ms, to_ms in zip([0, *cuts_ms], [*cuts_ms, whole_ms], strict=True))

    def _send(self, which: int, message: Ask | Answer) -> None:
        """To or from that coordinator."""
        if (which, message.head) in self.cut or self.random.random() < self.weather.loss:
            return
        for _ in range(2 if self.random.random() < self.weather.doubles else 1):
            slow = self.random.random() < self.weather.slow
            delay_ms = self.random.randrange(self.weather.slow_ms) if slow else self.random.randrange(5, 60)
            self._net.append((self.now_ms + delay_ms, which, message))

    def _deliver(self) -> None:
        due = [entry for entry in self._net if entry[0] <= self.now_ms]
        self._net = [entry for entry in self._net if entry[0] > self.now_ms]
        self.random.shuffle(due)
        for _, which, message in due:
            if isinstance(message, Answer):
                self.lanes[message.head].inbox.append(message)
            else:
                self.coordinators[which].inbox.append(message)


def live_through(world: World, n_turns: int) -> None:
    """Many turns of fortune, as the world's own random numbers will have it."""
    random = world.random
    for _ in range(n_turns):
        turn = random.randrange(14)
        if turn < 6:
            world.stage = random.choice(STAGES)
        elif turn == 6:
            slow_ms = random.choice((700, 3_000, 20_000))
            world.weather = Weather(random.choice((0.0, 0.2, 0.5)), 0.3, random.choice((0.0, 0.3, 0.8)), slow_ms)
        elif turn == 7:
            world.weather = Weather()
        elif turn == 8:
            world.kill_lane(random.choice(HEADS))
        elif turn == 9:
            world.start_lane(random.choice(HEADS))
        elif turn == 10:
            world.kill_coordinator(0)
            world.run(random.randrange(0, 3_000))
            world.start_coordinator(0)
        elif turn == 11:
            world.cut ^= {(random.randrange(len(world.coordinators)), random.choice(HEADS))}
        elif turn == 12:
            world.cut.clear()
        world.run(random.randrange(200, 6_000))
