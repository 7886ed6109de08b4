"""Sequences that once led to danger, or hid one: the lights' daemon and what it stands on, in simulated time."""

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from common.codes import Aspect, SignalMode
from common.commands import (
    Automatic,
    ClearFault,
    Flash,
    Off,
    Order,
    OrderResult,
    Preempt,
)
from common.junction import Junction, MovementKind, Preemption
from common.junction_checks import faults
from common.notify import notify
from edge_agent.domain.signals.leases import Obeyed
from edge_agent.domain.signals.lights import Lights
from edge_agent.domain.signals.steps import Decision, FaultCode
from edge_agent.drivers.base import HeadsError
from edge_agent.drivers.heads.simulated import SimulatedHeads
from edge_agent.link.asking import Asking
from edge_agent.link.messages import Ask
from edge_agent.link.server import LinkServer
from edge_agent.safe_file import write_safely
from edge_agent.signals import app, driving, memory
from edge_agent.signals.app import Daemon
from edge_agent.signals.config import (
    HeadsSettings,
    LaneSettings,
    MqttSettings,
    SignalsConfig,
)
from edge_agent.signals.lane_daemon import LaneDaemon, run_lane
from edge_agent.signals.log_aside import MAX_LINES, LogAside
from edge_agent.signals.loop import Tick, ticks
from edge_agent.signals.memory import (
    LOCK_NAME,
    STATE_NAME,
    HeadsLock,
    Kept,
    KeptFault,
    Memory,
)
from edge_agent.signals.senses import Senses
from tests.junctions import APPROACHES, crossroads, four_stages, with_people
from tests.waiting import until

RED, GREEN, YELLOW = Aspect.RED, Aspect.GREEN, Aspect.YELLOW
NAMES = ("north", "east", "south", "west")


class Bench:
    """The daemon in this process, on simulated heads, stepped by hand."""

    def __init__(self, folder: Path, *, lost: str = "", junction: Junction | None = None) -> None:
        self.config = SignalsConfig(
            state_dir=str(folder),
            socket=str(folder / "link"),
            heads=HeadsSettings(driver="simulated"),
            junction=junction or crossroads(),
        )
        self.heads = SimulatedHeads(NAMES)
        self.loaded = self.config
        self.daemon = Daemon(self.config, self.heads, lambda: self.loaded, lost)
        self.now_s = 1000.0
        self.daemon._clock_s = lambda: self.now_s

    def step(self, n: int = 1, *signals: int) -> bool:
        """Whether the last of them ended it."""
        ended = False
        for _ in range(n):
            self.now_s += 0.1
            ended = self.daemon._tick(Tick(self.now_s, 0.0, frozenset(signals)))
        return ended

    def until(self, condition: Callable[[], object], most: int = 3000) -> None:
        for _ in range(most):
            if condition():
                return
            self.step()
        pytest.fail("in vain")

    def until_green(self, name: str = "north") -> None:
        self.until(lambda: self.heads.lit[name] == {GREEN})


def shown(bench: Bench) -> Decision:
    """What is decided now."""
    assert bench.daemon._driving is not None
    decision = bench.daemon._driving.lights._controller._decision
    assert decision is not None
    return decision


@contextmanager
def running(folder: Path, **more: Any) -> Iterator[Bench]:
    folder.mkdir(exist_ok=True)
    bench = Bench(folder, **more)
    try:
        yield bench
    finally:
        bench.daemon._close()


# --- the disk ---


def test_a_disk_that_takes_a_part_of_it_never_leaves_half_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: whole(handle, bytes(data[:3])))
    write_safely(tmp_path / "f", b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


@pytest.mark.parametrize("data", [b"\xff\xfe", b'{"fault":{"code":"conflict","detail":"\xff"}}', b"", b"[" * 9999])
def test_whatever_bytes_are_found_the_lights_begin_and_flash(tmp_path: Path, data: bytes) -> None:
    (tmp_path / STATE_NAME).write_bytes(data)
    kept = Memory(tmp_path).load()
    assert kept.fault is not None
    with running(tmp_path) as bench:
        bench.step(100)
        assert not any(lit & {GREEN, YELLOW} for lit in bench.heads.lit.values())


def test_what_the_disk_refused_is_written_when_it_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault that was latched while the disk was full must outlive a power cut an hour later."""
    refusals = [2]

    def write(path: Path, data: bytes) -> None:
        if refusals[0]:
            refusals[0] -= 1
            raise OSError(28, "No space left on device")
        write_safely(path, data)

    monkeypatch.setattr(memory, "write_safely", write)
    monkeypatch.setattr(memory, "RETRY_S", 0.001)
    (tmp_path / STATE_NAME).write_text("{}")
    keeps = Memory(tmp_path)
    keeps.load()
    keeps.keep(Kept(KeptFault(FaultCode.CONFLICT, "two greens")))
    until(lambda: Memory(tmp_path).load().fault is not None)
    keeps.close()


def test_a_disk_that_never_takes_it_does_not_keep_the_daemon_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory, "write_safely", write)
    keeps = Memory(tmp_path)
    keeps.keep(Kept(KeptFault(FaultCode.CONFLICT, "two greens")))
    keeps.close(60.0)
    assert not keeps._thread.is_alive()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be in the way of others")
def test_a_lamp_test_with_sudo_does_not_lock_the_daemon_out(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    lock = HeadsLock(tmp_path)
    lock.take()
    lock.release()
    assert (tmp_path / LOCK_NAME).stat().st_uid == 65534


def test_files_are_opened_before_there_is_a_step_that_could_be_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk would latch a flash after every power cut, until somebody comes."""
    opened: list[bool] = []
    with running(tmp_path) as bench:

        def no_ticks(_: object, **__: object) -> Iterator[Tick]:
            opened.append(bench.daemon._is_settled)
            return iter(())

        monkeypatch.setattr(app, "ticks", no_ticks)
        bench.daemon.run()
    assert opened == [True]


# --- red first, words later ---


def test_lamps_are_red_before_anything_is_told_of_their_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log may block: a journal that hangs must not keep a green lit."""
    with_green: list[bool] = []
    heads = SimulatedHeads(NAMES)

    class Log:
        def critical(self, *_: object, **__: object) -> None:
            with_green.append(any(lit & {GREEN, YELLOW} for lit in heads.lit.values()))

    drives, now_s = driving.Driving(Lights(crossroads(), 0.0), heads, NAMES), 0.0
    while heads.lit["north"] != {GREEN}:
        now_s += 0.1
        drives.step(now_s, None, None)
    monkeypatch.setattr(driving, "logger", Log())

    def fails(*_: object) -> None:
        raise HeadsError("no supply")

    monkeypatch.setattr(heads, "show", fails)
    drives.step(now_s + 0.1, None, None)
    assert with_green == [False]


def test_who_logs_never_waits_for_who_writes() -> None:
    """The thread that logs is that of the lights; a journal that hangs would keep their greens lit."""
    goes_on = threading.Event()
    written: list[str] = []

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert threading.current_thread() is not threading.main_thread()
            goes_on.wait()
            written.append(record.getMessage())

    aside, names = LogAside(Stuck()), ["north"]
    for _ in range(2 * MAX_LINES):
        aside.handle(logging.LogRecord("", logging.INFO, "", 0, "%s", (names,), None))
    names.clear()
    goes_on.set()
    until(lambda: len(written) > MAX_LINES, aside.flush)
    assert written[0] == "['north']"
    assert any("lines were lost" in line for line in written)


def test_no_signal_reaches_the_thread_that_writes_the_log() -> None:
    """It is made before signals are blocked; SIGTERM in the midst of a step ended the process there and then."""
    before = set(threading.enumerate())
    LogAside(logging.NullHandler())
    (thread,) = set(threading.enumerate()) - before
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    (blocked,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk"))
    assert all(blocked >> (number - 1) & 1 for number in app.SIGNALS)


def test_a_systemd_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        told: list[bool] = []

        def tell() -> None:
            told.extend(notify("WATCHDOG=1", {"NOTIFY_SOCKET": str(tmp_path / "notify")}) for _ in range(2000))

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        thread.join(30.0)
        assert not thread.is_alive()
    assert told[0]
    assert not told[-1]


def test_a_daemon_that_ends_is_red_before_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lit: list[bool] = []
    with running(tmp_path) as bench:
        bench.until_green()
        monkeypatch.setattr(app, "tell_systemd", lambda _: lit.append(GREEN in bench.heads.lit["north"]))
        monkeypatch.setattr(app, "ticks", lambda _, **__: iter([None]))
        with pytest.raises(AttributeError):
            bench.daemon.run()
    assert lit == [False]


def test_books_of_sensors_that_fail_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ValueError("a defect")

    with running(tmp_path) as bench:
        bench.until_green()
        monkeypatch.setattr(Senses, "told", fail)
        monkeypatch.setattr(Senses, "doubts", property(fail))
        bench.step(5)
        assert bench.daemon._driving is not None
        assert bench.daemon._driving.lights.interlock.fault is None


# --- a planned stop ---


def order(bench: Bench, order: Order) -> OrderResult:
    """Given over the socket, and answered in the next step.

    Steps wait a little for the answer: else minutes of the bench go by meanwhile, and the order may be over.
    """
    with Asking(Path(bench.config.socket)) as asking, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(asking.order, order)
        bench.until(lambda: wait([answer], timeout=0.01).done)
        return answer.result()


def test_an_order_that_is_read_too_late_is_not_carried_out(tmp_path: Path) -> None:
    """Who gave it went away; the daemon stood still, or was busy. Nobody expects it any more."""
    with running(tmp_path) as bench:
        bench.until_green()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(bench.config.socket)
            peer.settimeout(0.01)
            late = Ask(id="1", order=Flash(by="x"), until_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            peer.sendall(msgspec.json.encode(late) + b"\n")
            heard = bytearray()

            def listen() -> bool:
                with suppress(TimeoutError):
                    heard.extend(peer.recv(65536))
                return b"it was read too late" in heard

            bench.until(listen)
        bench.step(20)
        assert shown(bench).mode is SignalMode.AUTOMATIC


def test_no_order_brings_greens_back_while_the_lights_end(tmp_path: Path) -> None:
    """They would turn from green to red when the time for stopping is over."""
    with running(tmp_path) as bench:
        bench.until_green()
        assert not bench.step(1, signal.SIGTERM)
        assert not order(bench, Automatic(by="operator")).accepted
        before = dict(bench.heads.lit)
        while not bench.step():
            before = dict(bench.heads.lit)
        assert not any(GREEN in lit for lit in before.values())


def test_the_daemon_sees_how_late_its_heads_are_told(tmp_path: Path) -> None:
    with running(tmp_path) as bench:
        bench.daemon._clock_s = lambda: bench.now_s + 0.3
        bench.until(lambda: bench.heads.lit["north"] == {YELLOW})
        began_s = bench.now_s
        bench.until(lambda: bench.heads.lit["north"] == {RED})
        assert bench.now_s - began_s == pytest.approx(3.3)


@pytest.mark.parametrize("min_green_s", [7.0, 20.0])
def test_a_stop_waits_for_the_least_green_and_its_yellow(tmp_path: Path, min_green_s: float) -> None:
    with running(tmp_path, junction=crossroads(min_green_s=min_green_s)) as bench:
        bench.until_green()
        seen = [frozenset(bench.heads.lit["north"])]
        ended = bench.step(1, signal.SIGTERM)
        while not ended:
            if bench.heads.lit["north"] != seen[-1]:
                seen.append(bench.heads.lit["north"])
            ended = bench.step()
        assert seen[:2] == [{GREEN}, {YELLOW}]


def test_a_flood_of_orders_does_not_hold_up_a_step(tmp_path: Path) -> None:
    flash = msgspec.json.encode(Ask(id="1", order=Flash(by="me")))
    with running(tmp_path) as bench, socket.socket(socket.AF_UNIX) as peer:
        bench.until(lambda: bench.daemon._link)
        peer.connect(bench.config.socket)
        bench.until(lambda: bench.daemon._link and bench.daemon._link._server.peers)
        carried_out: list[object] = []

        def carry_out(order: Order, now_s: float) -> OrderResult:
            carried_out.append(order)
            return OrderResult(accepted=True)

        assert bench.daemon._driving is not None
        bench.daemon._driving.order = carry_out  # type: ignore[method-assign]
        peer.sendall((flash + b"\n") * 100)
        bench.until(lambda: carried_out)
        assert len(carried_out) <= 8
        peer.setblocking(False)
        heard = b""
        while heard.count(b'"answer"') < 100:
            with suppress(BlockingIOError):
                heard += peer.recv(1 << 20)
            bench.step()


def lane_config(folder: Path) -> SignalsConfig:
    return SignalsConfig(
        state_dir=str(folder),
        socket=str(folder / "link"),
        heads=HeadsSettings(driver="simulated"),
        junction=crossroads(),
        lane=LaneSettings(movement="north"),
        mqtt=MqttSettings(host="127.0.0.1", port=9, tls=False),
    )


def lane_daemon(folder: Path) -> LaneDaemon:
    return LaneDaemon(lane_config(folder), SimulatedHeads(["north"]))


def test_a_lane_clears_no_fault_for_somebody_who_went_away(tmp_path: Path) -> None:
    daemon = lane_daemon(tmp_path)
    heard = bytearray()
    try:
        daemon.tick(Tick(100.0, 0.0, frozenset()))
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "link"))
            peer.settimeout(0.01)
            late = Ask(id="1", order=ClearFault(by="x"), until_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME))
            peer.sendall(msgspec.json.encode(late) + b"\n")
            for step in range(1, 100):
                daemon.tick(Tick(100.0 + step / 10, 0.0, frozenset()))
                with suppress(TimeoutError):
                    heard.extend(peer.recv(65536))
                if b"accepted" in heard:
                    break
    finally:
        daemon.close()
    assert b"it was read too late" in heard


def test_a_lane_that_stops_does_not_wait_for_its_broker(tmp_path: Path) -> None:
    """Its green has to end with the lease, and hanging up joins a thread that may be connecting."""
    daemon = lane_daemon(tmp_path)
    hangs_up, close = [threading.current_thread()], daemon._speaker.bus.close

    def slowly() -> None:
        hangs_up.append(threading.current_thread())
        close()

    daemon._speaker.bus.close = slowly  # type: ignore[method-assign]
    try:
        assert not daemon.tick(Tick(100.0, 0.0, frozenset()))
        daemon.tick(Tick(100.1, 0.0, frozenset({signal.SIGTERM})))
    finally:
        daemon.close()
    assert hangs_up.count(threading.main_thread()) == 1
    assert len(hangs_up) == 2


def test_a_lanes_fault_outlives_its_daemon_which_feeds_the_watchdog_only_where_lamps_obey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[str] = []
    monkeypatch.setattr("edge_agent.signals.lane_daemon.notify", fed.append)
    monkeypatch.setattr("edge_agent.signals.lane_daemon.watchdog_interval_s", lambda: 2.0)
    faults, were_cleared = [], []
    for broken in ("no supply", "", ""):
        daemon, fed[:] = lane_daemon(tmp_path), []
        daemon._heads.broken = broken  # type: ignore[attr-defined]
        try:
            for step in range(30):
                daemon.tick(Tick(100.0 + step / 10, 0.0, frozenset()))
            assert daemon._pi is not None
            faults.append(daemon._pi.fault and daemon._pi.fault.code)
            assert ("WATCHDOG=1" in fed) is not bool(broken)
            for step in range(30, 100):
                daemon.tick(Tick(100.0 + step / 10, 0.0, frozenset()))
            cleared = daemon._pi.clear(110.0)
            daemon.tick(Tick(110.0, 0.0, frozenset()))
        finally:
            daemon.close()
        were_cleared.append(cleared.accepted)
    assert faults == [FaultCode.DRIVER_FAILED, FaultCode.DRIVER_FAILED, None]
    assert were_cleared == [False, True, False]


def test_a_lane_that_is_slow_to_start_has_no_late_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be latched, over restarts too, until somebody comes."""
    faults = []
    monkeypatch.setattr(LinkServer, "open", lambda server: time.sleep(0.8))
    monkeypatch.setattr(LinkServer, "poll", lambda server: [])
    monkeypatch.setattr("edge_agent.signals.lane_daemon.ticks", lambda signals: islice(ticks(signals), 3))
    monkeypatch.setattr(LaneDaemon, "close", lambda daemon: faults.append(daemon._pi.fault))
    run_lane(lane_config(tmp_path), SimulatedHeads(["north"]), ())
    assert faults == [None]


def test_a_lane_asks_its_disk_again_to_keep_whom_it_obeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that is full for a moment is no reason to flash until somebody comes."""
    monkeypatch.setattr("edge_agent.signals.lane_daemon.RETRY_S", 0.01)
    daemon, whole, full = lane_daemon(tmp_path), os.fsync, threading.Event()

    def fsync(handle: int) -> None:
        if not full.is_set():
            full.set()
            raise OSError(errno.ENOSPC, "full")
        whole(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    try:
        daemon._save(Obeyed(1, "one"))
        assert daemon._saved.get(timeout=30) == Obeyed(1, "one")
        assert full.is_set()
        for term in range(2, 20):
            daemon._save(Obeyed(term, "another"))
        while daemon._saved.get(timeout=30) != Obeyed(19, "another"):
            pass
        assert daemon._read_obeys() == Obeyed(19, "another")
    finally:
        daemon.close()


# --- what must be remembered ---


def kept(bench: Bench) -> Kept:
    """As it is on the disk, in the end."""
    bench.daemon._memory.close()
    return Memory(Path(bench.config.state_dir)).load()


def test_clearing_a_fault_does_not_end_an_order_to_be_dark(tmp_path: Path) -> None:
    """Somebody works at the heads: a restart must not bring the lights back."""
    with running(tmp_path) as bench:
        bench.until_green()
        assert order(bench, Off(by="technician")).accepted
        bench.until(lambda: set(bench.heads.lit.values()) == {frozenset()}, 1000)
        assert bench.daemon._driving is not None
        bench.daemon._driving.report(FaultCode.LAMP_MISMATCH, "a lamp was taken out", bench.now_s)
        bench.step(100)
        assert order(bench, ClearFault(by="technician")).accepted
        bench.step(100)
        assert isinstance(kept(bench).order, Off)


def test_a_lost_plan_does_not_wipe_out_a_latched_fault(tmp_path: Path) -> None:
    with running(tmp_path) as bench:
        bench.until_green()
        assert bench.daemon._driving is not None
        bench.daemon._driving.report(FaultCode.CONFLICT, "two greens", bench.now_s)
        bench.step(5)
    with running(tmp_path, lost="the file is gone") as bench:
        bench.step(50)
    with running(tmp_path) as bench:
        bench.step(5)
        fault = kept(bench).fault
        assert fault is not None
        assert fault.code is FaultCode.CONFLICT
        assert not any(GREEN in lit for lit in bench.heads.lit.values())


def test_flash_by_order_waits_until_people_have_crossed() -> None:
    """At a flashing red drivers may go on after a stop."""
    lights, now_s = Lights(with_people(), 0.0), 0.0
    shown: Mapping[str, Aspect] = {}
    while shown.get("walk-over-east") is not GREEN:
        now_s += 0.1
        shown = lights.step(now_s, None).aspects
    assert lights.order(Flash(by="operator"), now_s).accepted
    red_from_s = None
    while shown["walk-over-east"] is not Aspect.FLASHING_RED:
        now_s += 0.1
        shown = lights.step(now_s, None).aspects
        if shown["walk-over-east"] is RED and red_from_s is None:
            red_from_s = now_s
    assert red_from_s is not None
    assert 8.0 - 1e-6 <= now_s - red_from_s < 8.2


@pytest.mark.parametrize(("clearance_s", "is_wrong"), [(0.0, True), (2.0, True), (3.0, False)])
def test_people_have_time_to_leave_the_road(clearance_s: float, is_wrong: bool) -> None:
    """They have no yellow: with 0 s, what conflicts got green in the step in which theirs ended; 2 s is the
    default."""
    junction = with_people()
    movements = tuple(
        structs.replace(one, red_clearance_s=clearance_s) if one.kind is MovementKind.PEDESTRIAN else one
        for one in junction.movements
    )
    found = faults(structs.replace(junction, movements=movements))
    people = ["movements[4].red_clearance_s", "movements[5].red_clearance_s"]
    assert [fault.path for fault in found] == people * is_wrong


@pytest.mark.parametrize(
    ("junction", "dwell_s"), [(crossroads(), 7.0), (four_stages(), 0.0)], ids=["two stages", "four stages"]
)
@pytest.mark.parametrize(
    "is_on",
    [lambda i: i % 2, lambda i: i % 30, lambda i: i % 60 < 30, lambda i: i * i % 7 < 4, lambda i: i % 700 < 350],
    ids=["each step", "off for a step", "halves", "at random", "slowly"],
)
def test_an_input_that_flickers_neither_owns_the_junction_nor_ends_in_a_fault(
    junction: Junction, dwell_s: float, is_on: Callable[[int], bool]
) -> None:
    """It was served again after each dwell, and nobody else for minutes: until that was a latched fault."""
    first, last = junction.stages[0].name, junction.stages[-1].name
    fire = Preemption(name="fire", stage=last, number=1, min_dwell_s=dwell_s, exit_stage=first)
    lights = Lights(structs.replace(junction, preemptions=(fire,)), 0.0)
    red_from_s = dict.fromkeys(APPROACHES, 0.0)
    longest_s = dict(red_from_s)
    held = 0
    for number in range(2_000):
        now_s = 0.4 * number
        lights.order(Preempt(by="siren", preemption="fire", on=bool(is_on(number))), now_s)
        step = lights.step(now_s, None)
        assert step.fault is None, step.fault
        held += step.decision.preemption is not None
        for name, aspect in step.aspects.items():
            red_from_s[name] = red_from_s[name] if aspect is RED else now_s
            longest_s[name] = max(longest_s[name], now_s - red_from_s[name])
    assert held > 100, "an emergency vehicle still has its way"
    assert max(longest_s.values()) < 120.0 + fire.max_presence_s
