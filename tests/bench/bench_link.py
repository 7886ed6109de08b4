"""What the link costs the lights, and how soon they hear what a camera sees.

python -m tests.bench.bench_link
"""

import select
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from common.records import SignalEvent
from edge_agent.clock_source import Clock
from edge_agent.link.handover import Handover
from edge_agent.link.messages import Presence
from edge_agent.link.server import LinkServer
from edge_agent.link.spool import Spool
from tests.bench import report
from tests.integration.agent_helpers import RunningAgent, write_config
from tests.integration.test_lights_link import CAMERA, Lights
from tests.waiting import until

IDLE_LIMIT_US = 20.0
STEP_LIMIT_MS = 5.0
HEARD_LIMIT_MS = 100.0
RSS_LIMIT_MB = 30.0
_N_IDLE = 20_000
_N_STEPS = 1_500
_STEP_S = 0.005
_WATCH_S = 20.0


def main() -> None:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        steps(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        processes(Path(folder))


def steps(folder: Path) -> None:
    """What one step spends on link and spool."""
    server = LinkServer(folder / "link.sock")
    server.open()
    spool = Spool(folder / "spool.db", commit_interval_s=0.1)
    handover = Handover(spool, server)
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(str(folder / "link.sock"))
        until(lambda: server.peers, server.poll)

        def look() -> None:
            server.poll()
            handover.step()

        epoll = select.epoll()
        epoll.register(agent.fileno(), select.EPOLLIN)
        bare_us = mean_us(lambda: epoll.poll(0))
        report.limit("a look at the link when nobody speaks", mean_us(look), IDLE_LIMIT_US, "us")
        report.plain("  of it the system's own", bare_us, "us")
        line = msgspec.json.encode(Presence(sensor="cam", zone="approach", at_ns=1, n=3, n_standing=1)) + b"\n"
        tallies_ms = busy_steps(look, spool, agent, line * 20)
        report.limit(
            "step: 20 reports in, 5 events to the disk, p99.9", at(tallies_ms, 0.999), STEP_LIMIT_MS, "ms"
        )
        report.plain("  median", at(tallies_ms, 0.5), "ms")
    spool.close()
    server.close()


def mean_us(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    for _ in range(_N_IDLE):
        work()
    return (time.perf_counter() - began_s) / _N_IDLE * 1e6


def busy_steps(look: Callable[[], None], spool: Spool, agent: socket.socket, lines: bytes) -> list[float]:
    """How long each step took, in ms."""
    clock, took_ms = Clock(), []
    for step in range(_N_STEPS):
        agent.sendall(lines)
        began_s = time.perf_counter()
        look()
        for code in range(5):
            spool.put(SignalEvent(1, 0, 0, "crossroads", code, step % 16), clock.stamp())
        took_ms.append((time.perf_counter() - began_s) * 1000)
        time.sleep(_STEP_S)
    return took_ms


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def processes(folder: Path) -> None:
    """A camera, the agent and the lights' end, as processes."""
    lights = Lights(folder)
    config = write_config(folder, CAMERA, signals={"socket": str(lights.socket)})
    with RunningAgent(config) as running:
        running.until(lambda: lights.heard("presence"))
        time.sleep(_WATCH_S)
        late_ms = [(heard_ns - seen["at_ns"]) / 1e6 for heard_ns, seen in lights.heard_when("presence")]
        rss_mb = psutil.Process(lights.process.pid).memory_info().rss / 2**20
        running.stop()
    lights.kill()
    report.limit("from the picture to the lights, median", at(late_ms, 0.5), HEARD_LIMIT_MS, "ms")
    report.plain("  p95, of the machine's business too", at(late_ms, 0.95), "ms")
    report.limit("RSS of a daemon with link and spool and nothing else", rss_mb, RSS_LIMIT_MB, "MB")


if __name__ == "__main__":
    main()
