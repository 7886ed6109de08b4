"""Orders from the collector: each given once, whatever dies in between, and its end always told."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import Stamp
from common.commands import Flash, Order, OrderResult
from common.records import CommandResult, Record
from common.remote import MAX_KNOWN, CommandStatus
from edge_agent.link.client import LightsAbsent
from edge_agent.orders import carrier as carrier_module
from edge_agent.orders.carrier import Carrier
from edge_agent.orders.fetcher import OrderFetcher, OrdersState
from edge_agent.orders.journal import Entry, Journal
from edge_agent.sync.exchange import Offer, Offered
from tests.outbox_model import stamp_at


class Killed(BaseException):
    """The process is gone, here and now."""


@dataclass
class World:
    """What outlives an agent: lights, outbox, disk. `lives` is how many more steps this process has."""

    folder: Path
    lives: int = 10**9
    refuses: bool = False
    given: list[tuple[UUID, str]] = field(default_factory=list)
    told: list[CommandResult] = field(default_factory=list)
    unsaved: list[CommandResult] = field(default_factory=list)
    absent: LightsAbsent | None = None
    is_connected: bool = True
    now_ns: int = 0
    n_hurried: int = 0

    def step(self) -> None:
        self.lives -= 1
        if self.lives < 0:
            raise Killed

    async def order(self, order: Order) -> OrderResult:
        self.step()
        if self.absent:
            raise self.absent
        self.given.append((UUID(order.why), order.by))
        self.step()
        return OrderResult(accepted=not self.refuses, reason="too short" if self.refuses else "")

    async def put(self, record: Record, stamp: Stamp) -> None:
        assert isinstance(record, CommandResult)
        self.unsaved.append(record)

    async def now(self) -> None:
        pass

    async def flush(self) -> bool:
        self.step()
        self.told += self.unsaved
        self.unsaved.clear()
        self.step()
        return True

    def stamp(self) -> Stamp:
        return msgspec.structs.replace(stamp_at(0), boottime_ns=self.now_ns)

    def hurry(self) -> None:
        self.n_hurried += 1

    def start(self) -> Carrier:
        self.unsaved.clear()
        return Carrier(_Disk(self), self, self, self, self.hurry)

    @property
    def words(self) -> list[tuple[str, str | None]]:
        return [(one.status, one.detail) for one in self.told]


class _Disk(Journal):
    """The journal, on a machine that dies before or after it has written."""

    def __init__(self, world: World) -> None:
        super().__init__(world.folder / "orders.json")
        self._world = world

    def note(self, entry: Entry) -> None:
        self._world.step()
        super().note(entry)
        self._world.step()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def offered(command: UUID | None = None, expires_in_s: float = 60.0) -> Offered:
    command = command or uuid4()
    order = msgspec.json.encode(Flash(by="ada", why=str(command)))
    return Offered(command, msgspec.Raw(order), expires_in_s)


def run(world: World, *offers: Offered, meanwhile: Callable[[], None] = lambda: None) -> Carrier:
    """One process: it recovers, and carries what it is offered."""

    async def live() -> Carrier:
        carrier = world.start()
        await carrier.recover()
        for one in offers:
            received = world.stamp()
            meanwhile()
            await carrier.carry(one, received)
        return carrier

    return asyncio.run(live())


def test_an_order_is_given_and_its_end_is_told_at_once(world: World) -> None:
    one = offered()
    carrier = run(world, one)
    assert world.given == [(one.id, "ada (collector)")]
    assert [(told.command, told.status, told.detail) for told in world.told] == [(str(one.id), "applied", None)]
    assert (list(carrier.known), carrier.last, world.n_hurried) == ([one.id], "applied", 1)
    world.refuses = True
    run(world, offered())
    assert world.words[1:] == [("refused", "too short")]


def test_one_that_comes_too_late_is_not_given(world: World) -> None:
    def time_passes() -> None:
        world.now_ns += 10 * 10**9

    run(world, offered(expires_in_s=9.9), offered(expires_in_s=10.1), meanwhile=time_passes)
    assert [status for status, _ in world.words] == ["expired", "applied"]
    assert len(world.given) == 1


def test_an_answer_that_was_held_up_is_asked_for_anew(world: World) -> None:
    """It may say less than the collector knows by now. What is too late in any case needs no second question."""
    first, later, late, slow = offered(), offered(), offered(expires_in_s=1.0), offered()
    answers = [
        (9.0, [first]),  # seconds on its way, and what it brings
        (6.0, [msgspec.structs.replace(first, expires_in_s=0.0), later]),
        (1.0, [msgspec.structs.replace(first, expires_in_s=0.0), later]),
        (9.0, [late]),
        *[(6.0, [slow])] * 3,  # no answer comes sooner there
    ]
    waits_s = []

    async def answer(known: object, wait_s: float, now: object) -> Offer:
        way_s, commands = answers.pop(0)
        waits_s.append(wait_s)
        world.now_ns += round((wait_s + way_s) * 1e9)
        return Offer(commands, 0, waited_s=wait_s)

    fetcher = OrderFetcher.__new__(OrderFetcher)
    fetcher.__dict__ |= {"_carrier": world.start(), "_clock": world, "_writer": world, "_wait_s": 45.0}
    fetcher.__dict__ |= {"_rng": Random(1), "_failures": 0, "state": OrdersState()}
    fetcher.__dict__ |= {"_exchange": SimpleNamespace(wait_for_commands=answer)}
    asyncio.run(fetcher._round())
    assert [(one.command, one.status) for one in world.told] == [
        (str(first.id), "expired"),
        (str(later.id), "applied"),
    ]
    assert world.given == [(later.id, "ada (collector)")]
    assert (waits_s[0] > 30.0, waits_s[1:]) == (True, [0.0, 0.0])
    asyncio.run(fetcher._round())
    assert world.words[2:] == [("expired", "it came too late, and was not given to the lights")]
    asyncio.run(fetcher._round())
    assert world.given[1:] == [(slow.id, "ada (collector)")]
    assert answers == []


def test_one_that_became_late_while_it_was_written_down_is_not_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: Path, data: bytes) -> None:
        world.now_ns += 30 * 10**9

    monkeypatch.setattr("edge_agent.orders.journal.write_safely", slow)
    run(world, offered(expires_in_s=20.0))
    assert [status for status, _ in world.words] == ["expired"]
    assert world.given == []


def test_lights_that_are_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier_module, "LIGHTS_PATIENCE_S", 0.01)
    world.is_connected = False
    run(world, offered())
    world.is_connected = True
    world.absent = LightsAbsent("the lights' daemon did not answer within 5 s", was_given=True)
    run(world, offered())
    world.absent = LightsAbsent("it is not connected", was_given=False)
    run(world, offered())
    assert [status for status, _ in world.words] == ["refused", "failed", "refused"]
    assert "not known whether they took it" in str(world.words[1][1])
    assert world.given == []


def test_what_cannot_be_understood_or_remembered_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(world, Offered(uuid4(), msgspec.Raw(b'{"order":"dance","by":"ada"}'), 60.0))
    assert world.words[0][0] == "refused"
    assert "does not know this order; update it" in str(world.words[0][1])

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_agent.orders.journal.write_safely", full)
    run(world, offered())
    assert world.words[1][0] == "refused"
    assert "disk cannot be written" in str(world.words[1][1])
    assert world.given == []


def test_a_damaged_memory_carries_out_nothing_that_may_have_been(world: World) -> None:
    one, two = offered(), offered()
    run(world, one)
    (world.folder / "orders.json").write_bytes(os.urandom(50))

    async def live() -> None:
        carrier = world.start()
        await carrier.recover()
        await carrier.carry(one, world.stamp())
        carrier.doubt_is_over()
        await carrier.carry(two, world.stamp())

    asyncio.run(live())
    assert [given for given, _ in world.given] == [one.id, two.id]
    assert [status for status, _ in world.words] == ["applied", "failed", "applied"]
    assert "memory of orders was damaged" in str(world.words[1][1])


def test_what_is_remembered_is_bounded_and_forgets_what_was_told_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "orders.json")
    begun = Entry(uuid4())
    journal.note(begun)
    told = [Entry(uuid4(), CommandStatus.APPLIED, "x" * 2000, told=True) for _ in range(MAX_KNOWN + 5)]
    for entry in told:
        journal.note(entry)
    again = Journal(tmp_path / "orders.json")
    again.load()
    assert again.untold == [begun]
    assert [again[one.id] is not None for one in told] == [False] * 6 + [True] * (MAX_KNOWN - 1)


@given(st.lists(st.integers(0, 8), max_size=6), st.booleans())
@settings(max_examples=50, deadline=None)
def test_whenever_it_is_killed_none_is_given_twice_and_each_end_is_told(kills: list[int], refuses: bool) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), refuses=refuses)
        orders = [offered() for _ in range(2)]
        for lives in [*kills, 10**9]:
            world.lives = lives
            try:
                # The collector offers what it was told nothing of.
                settled = {told.command for told in world.told}
                run(world, *(one for one in orders if str(one.id) not in settled))
            except Killed:
                continue
        for one in orders:
            given = [command for command, _ in world.given if command == one.id]
            first = next(told.status for told in world.told if told.command == str(one.id))
            assert len(given) <= 1
            if first == "applied" or first == "refused":
                assert given
            else:
                assert first == "failed"


def test_the_kill_between_giving_and_telling_says_so(world: World) -> None:
    one = offered()
    world.lives = 4  # Noted as begun (2), given (1), and gone before the answer.
    with pytest.raises(Killed):
        run(world, one)
    assert (len(world.given), world.told) == (1, [])
    world.lives = 10**9
    run(world, one)
    assert len(world.given) == 1
    assert world.words[0][0] == "failed"
    assert "restarted while the lights were being asked" in str(world.words[0][1])
