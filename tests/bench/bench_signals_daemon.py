"""How small, how soon and how punctual the lights' daemon is, while the rest of the machine is saturated.

python -m tests.bench.bench_signals_daemon [SECONDS]
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench import report
from tests.integration.signals_helpers import (
    PINS,
    READ_BACK,
    RunningLights,
    chip_for,
    lamps,
    now_s,
    write_signals_config,
)
from tests.integration.test_several_pis import LANES, Place, rss_mb
from tests.servers.fake_chip import LIBRARIES, Library

RSS_LIMIT_MB = 30.0
FIRST_LAMP_LIMIT_S = 1.0
LATE_LIMIT_MS = 10.0
REACTION_LIMIT_MS = 450.0
_SECONDS = 60.0
_MIB = 2**20
_N_STARTS = 5


def main() -> None:
    """All figures."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS
    with tempfile.TemporaryDirectory() as name:
        # An installed program does not compile itself at every start, which takes time and 1 MB.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = name
        for library in LIBRARIES:
            first_lamp(library)
        several_pis()
        for library in LIBRARIES:
            punctual(library, seconds, realtime=True)
        punctual("RPi.GPIO", seconds, realtime=False)
        reaction()


def first_lamp(library: Library) -> None:
    """From the start of the process to the first red, on a machine with nothing else to do."""
    took_s = []
    for _ in range(_N_STARTS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            chip, config = chip_for(folder), write_signals_config(folder)
            with RunningLights(config, library=library) as lights:
                while not chip.is_output(2):
                    time.sleep(0.001)
                took_s.append(now_s() - lights.began_s)
    report.limit(f"start to first lamp, {library}", sorted(took_s)[_N_STARTS // 2], FIRST_LAMP_LIMIT_S, "s")


def punctual(library: Library, seconds: float, *, realtime: bool) -> None:
    """Steps beside a busy loop on every core."""
    loop = {"late_s": 2.0, "realtime": realtime}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chip = chip_for(folder, read_back=True)
        config = write_signals_config(folder, read_back=True, loop=loop)
        with RunningLights(config, library=library) as lights:
            lights.until(lambda: "green" in lamps(chip).values())
            with burners():
                time.sleep(seconds)
                rss_mb = psutil.Process(lights.process.pid).memory_info().rss / _MIB
                lights.stop()
            told = lights.until_ended_saying("stopped")
            begun = lights.until_ended_saying("begins")["message"]
    granted = "real time" if "real-time priority 20" in begun else "ordinary priority"
    what = f"{library}, {granted}, all cores busy"
    report.limit(f"RSS, {what}", rss_mb, RSS_LIMIT_MB, "MB")
    if realtime:
        report.limit(f"lateness p99.9, {what}", told["p999_ms"], LATE_LIMIT_MS, "ms")
    else:
        report.plain(f"lateness p99.9, {what}", told["p999_ms"], "ms", "what the priority is for")
    report.plain(
        f"lateness p50 / p99, {what}", told["p50_ms"], "ms", f"p99 {told['p99_ms']} ms; {told['message']}"
    )


def several_pis() -> None:
    """A coordinator and two lanes' Pis, over a broker with TLS and certificates, once all have been green."""
    for is_compiled in (False, True):
        with tempfile.TemporaryDirectory() as name:
            place = Place(Path(name))
            place.broker.start()
            try:
                for who in ("coordinator", *LANES):
                    place.start(who)
                place.wait_for(lambda place=place: all(place.has_shown(lane, "green") for lane in LANES))  # type: ignore[misc]
                sizes = {who: rss_mb(process.pid) for who, process in place.processes.items()}
            finally:
                place.close()
        if is_compiled:
            report.limit(
                "RSS, coordinator of several Pis, MQTT over TLS", sizes["coordinator"], RSS_LIMIT_MB, "MB"
            )
            report.limit("RSS, a lane's Pi, MQTT over TLS", sizes[LANES[0]], RSS_LIMIT_MB, "MB")


def reaction() -> None:
    """From a conflicting green that is read back to all greens off, cores busy, as seen on the pins."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chip = chip_for(folder, read_back=True)
        config = write_signals_config(folder, read_back=True, loop={"late_s": 2.0, "realtime": True})
        with RunningLights(config) as lights, burners():
            lights.until(lambda: lamps(chip)["north"] == "green")
            began_s = now_s()
            chip.force(READ_BACK["east"]["green"], 1)
            greens = {PINS[name]["green"] for name in PINS}
            lights.until(lambda: not any("green" in lit for lit in lamps(chip).values()))
            gone_s = [
                one.t_s for one in chip.changes() if one.pin in greens and not one.level and one.t_s > began_s
            ]
    took_ms = 1000 * (max(gone_s) - began_s)
    report.limit("conflict read back, to all greens off", took_ms, REACTION_LIMIT_MS, "ms")


@contextlib.contextmanager
def burners() -> Iterator[None]:
    """A process that does nothing but compute, for each core, with the agent's own standing."""
    n = len(os.sched_getaffinity(0))
    running = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"]) for _ in range(n)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


if __name__ == "__main__":
    main()
