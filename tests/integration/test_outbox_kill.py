"""The outbox's process is killed with SIGKILL at random instants; its own log is the judge."""

import json
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from edge_agent.outbox import OutgoingBatch
from tests.outbox_model import ModelCollector

ROUNDS = 20
_CHECKOUT = Path(__file__).parents[2]


def serve(child: "subprocess.Popen[str]", collector: ModelCollector, rng: random.Random) -> None:
    """Be the collector of one process, until it ends. Some answers get lost."""
    assert child.stdin is not None
    assert child.stdout is not None
    for line in child.stdout:
        if not line.endswith("\n"):
            return
        question = json.loads(line)
        epoch = UUID(question["epoch"])
        if "records" in question:
            records = [record.encode() for record in question["records"]]
            batch = OutgoingBatch("main", epoch, question["first"], question["last"], records)
            answer = collector.receive(batch) if rng.random() < 0.9 else -1
            answer = answer if rng.random() < 0.8 else -1
        else:
            answer = collector.watermark(epoch)
        try:
            child.stdin.write(f"{answer}\n")
            child.stdin.flush()
        except BrokenPipeError:
            return


def test_killing_it_at_any_instant_loses_nothing_committed_and_doubles_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    collector = ModelCollector()
    log = tmp_path / "log"
    log.touch()
    for index in range(ROUNDS + 1):
        last = index == ROUNDS
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.integration.outbox_child"),
                *(tmp_path / "outbox.db", log, str(index * 1_000_000 + 1), "50" if last else "0"),
            ],
            cwd=_CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        server = threading.Thread(target=serve, args=(child, collector, rng))
        server.start()
        if not last:
            _wait_for_work(log, index * 1_000_000 + 1, rng.randint(1, 400), child)
            child.kill()
        assert child.wait(60) == (0 if last else -9)
        server.join()
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
    made, committed = _read_log(log)
    collector.check()
    stored = set(collector.stored())
    assert committed <= stored <= made
    assert len(committed) > 1000
    assert collector.lost() == 0
    assert len(collector.streams) == 1


def _wait_for_work(log: Path, first: int, n_records: int, child: "subprocess.Popen[str]") -> None:
    """Until the process made so many records: killing by work done, not by the clock, suits any machine."""
    wanted = f"made {first + n_records}\n"
    while wanted not in log.read_text()[-100_000:]:
        assert child.poll() is None
        time.sleep(0.002)


def _read_log(log: Path) -> tuple[set[str], set[str]]:
    """What was made, and what of it was committed for certain."""
    made, committed, waiting = set[str](), set[str](), set[str]()
    for line in log.read_text().splitlines():
        word, number = line.split()
        if word == "made":
            if int(number) % 1_000_000 == 1:
                waiting.clear()
            made.add(f"n{number}")
            waiting.add(f"n{number}")
        else:
            committed |= waiting
            waiting.clear()
    return made, committed
