"""Either end of the link is killed with SIGKILL at random instants; the lights' own log is the judge."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clock_source import Clock
from edge_agent.outbox.reader import Waiting, reading
from tests.integration.lights_child import SERIALS
from tests.waiting import until

KILLS = 10
_CHECKOUT = Path(__file__).parents[2]


class Pair:
    """Both processes, and what they have written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lights_log, self.agent_log = folder / "lights.log", folder / "agent.log"
        self.lights_log.touch()
        self.agent_log.touch()
        self.lights, self.agent = self.start_lights(), self.start_agent()

    def start_lights(self, n_events: int = 2) -> "subprocess.Popen[bytes]":
        arguments = (self.folder / "link.sock", self.folder / "spool.db", self.lights_log, str(n_events))
        return self._start("tests.integration.lights_child", *arguments)

    def start_agent(self) -> "subprocess.Popen[bytes]":
        arguments = (self.folder / "link.sock", self.folder / "outbox.db", self.agent_log)
        return self._start("tests.integration.link_agent_child", *arguments)

    def _start(self, module: str, *arguments: str | Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=_CHECKOUT)

    def until_more(self, *more_bytes: int) -> None:
        """Until both have written so much more: killing by work done, not by the clock, suits any machine."""
        logs = (self.lights_log, self.agent_log)
        wanted = [log.stat().st_size + more for log, more in zip(logs, more_bytes, strict=True)]
        until(lambda: all(log.stat().st_size >= size for log, size in zip(logs, wanted, strict=True)))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    try:
        yield pair
    finally:
        for process in (pair.lights, pair.agent):
            process.kill()
            process.wait()


def test_killing_either_end_at_any_instant_loses_nothing_and_doubles_nothing(pair: Pair) -> None:
    rng = random.Random(11)
    for _ in range(KILLS):
        pair.until_more(rng.randint(10, 1500), rng.randint(5, 25))
        assert pair.lights.poll() is pair.agent.poll() is None
        if rng.random() < 0.5:
            pair.lights.kill()
            assert pair.lights.wait() == -9
            pair.lights = pair.start_lights()
        else:
            pair.agent.kill()
            assert pair.agent.wait() == -9
            pair.agent = pair.start_agent()
    made, durable = finish(pair)
    stored = list(serials(pair.folder / "outbox.db"))
    assert len(set(stored)) == len(stored), "doubled"
    assert durable <= set(stored) <= made
    assert stored == sorted(stored)
    assert len(durable) > 300


def finish(pair: Pair) -> tuple[set[int], set[int]]:
    """Let everything be delivered; what was made, and what of it was on the lights' disk for certain."""
    pair.lights.kill()
    pair.lights.wait()
    made, durable = read_log(pair.lights_log)
    pair.lights = pair.start_lights(n_events=0)
    until(lambda: pair.lights_log.read_bytes().endswith(b"waiting 0\n"))
    pair.agent.kill()
    pair.agent.wait()
    return made, durable


def read_log(log: Path) -> tuple[set[int], set[int]]:
    made, durable, waiting = set[int](), set[int](), set[int]()
    for line in log.read_text().splitlines():
        word, _, number = line.partition(" ")
        if word == "made":
            made.add(int(number))
            waiting.add(int(number))
        elif word == "begins":
            waiting.clear()
        elif word == "durable":
            durable |= {serial for serial in waiting if serial <= int(number)}
            waiting = {serial for serial in waiting if serial > int(number)}
    return made, durable


def serials(outbox: Path) -> Iterator[int]:
    """Of all events in the outbox, oldest first."""
    with reading(outbox, Clock().stamp()) as reader:
        for entry in reader.read():
            assert isinstance(entry, Waiting), entry
            record = json.loads(entry.record)
            assert record[0] == "signal_event", record
            yield record[5] * SERIALS + record[6]
