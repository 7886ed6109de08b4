"""How small the agent is: its main process, and one camera process with a small model.

python -m tests.bench.bench_agent
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench import report
from tests.integration.agent_helpers import RunningAgent, clean_environment, write_config

MAIN_LIMIT_MB = 60
CAMERA_LIMIT_MB = 150
HELP_LIMIT_S = 1.0
START_LIMIT_S = 15.0
_DATA = Path(__file__).parents[2].parent / "shared/data"
_SETTLE_S = 20.0
_MIB = 2**20


def main() -> None:
    """All figures."""
    help_time()
    without_camera()
    with_camera("motion", "motion")
    models = sorted((_DATA / "models").glob("*.onnx"), key=lambda path: path.stat().st_size)
    if models:
        with_camera(str(models[0]), f"{models[0].stat().st_size / _MIB:.1f} MB model")
    else:
        print(f"     no models in {_DATA}: camera process with a model left out")


def help_time() -> None:
    """How long a technician waits for `--help`."""
    began_s = time.perf_counter()
    command = [sys.executable, "-m", "edge_agent", "--help"]
    subprocess.run(command, check=True, capture_output=True, env=clean_environment())
    report.limit("stopline-agent --help", time.perf_counter() - began_s, HELP_LIMIT_S, "s")


def without_camera() -> None:
    """The main process with outbox, sync, health and status page, and no camera."""
    with tempfile.TemporaryDirectory() as folder:
        config = write_config(Path(folder), collector={"url": "https://127.0.0.1:9"})
        with RunningAgent(config) as running:
            running.until_said("sync_trouble")
            time.sleep(_SETTLE_S)
            rss_mb = psutil.Process(running.process.pid).memory_info().rss / _MIB
            running.stop()
    report.limit("agent without camera, RSS", rss_mb, MAIN_LIMIT_MB, "MB")


def with_camera(model: str, name: str) -> None:
    """One camera process, and how long it takes from the agent's start to its first measured pictures."""
    with tempfile.TemporaryDirectory() as folder:
        camera = {"name": "north", "source": "sim:road", "fps": 10.0, "model": model}
        config = write_config(Path(folder), camera)
        began_s = time.perf_counter()
        with RunningAgent(config) as running:
            running.until(lambda: running.status()["cameras"][0]["fps"])
            started_s = time.perf_counter() - began_s
            time.sleep(_SETTLE_S)
            process = psutil.Process(running.process.pid)
            (child,) = process.children()
            rss_mb, main_mb = child.memory_info().rss / _MIB, process.memory_info().rss / _MIB
            running.stop()
    report.limit(f"camera process, {name}, RSS", rss_mb, CAMERA_LIMIT_MB, "MB")
    report.limit(f"main process beside it, {name}, RSS", main_mb, MAIN_LIMIT_MB, "MB")
    report.limit(f"start to first measured pictures, {name}", started_s, START_LIMIT_S, "s")


if __name__ == "__main__":
    main()
