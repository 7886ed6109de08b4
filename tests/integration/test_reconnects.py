"""A camera that comes and goes for months must not cost memory, threads or open files.

STOPLINE_RECONNECTS says how often; 10000 takes some minutes, a hundred do here.
"""

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from edge_agent.cameras.child import ENVIRONMENT
from tests.integration.camera_helpers import job, watching
from tests.servers.network_camera import NetworkCamera, RtspCamera

_ASKED = int(os.environ.get("STOPLINE_RECONNECTS", "0"))
_GROWTH_KIB = 2048
"""What the allocator may scatter. A picture is 225 KiB, so that one in ten that is kept shows."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.timeout(7200 if _ASKED else 300)
@pytest.mark.parametrize(
    ("kind", "times", "fps"), [(NetworkCamera, 120, 0.0), (RtspCamera, 12, 120.0)], ids=["http", "rtsp"]
)
def test_reconnecting_costs_nothing(kind: type[NetworkCamera], times: int, fps: float) -> None:
    """In a process of its own, with the allocator as camera processes have it."""
    times = _ASKED or times
    with kind(per_connection=25, fps=fps) as camera:
        told = subprocess.run(
            [sys.executable, "-m", "tests.integration.reconnect_child", camera.url, str(times)],
            check=True, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT},
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    found = json.loads(told.stdout)
    values = found["rss_kib"]
    print(f"{times} reconnects, KiB: {' '.join(f'{value:.0f}' for value in values)}")
    assert found["n_read"] > times
    assert statistics.fmean(values[-5:]) - statistics.fmean(values[:5]) < _GROWTH_KIB
    for before, after in zip(found["before"], found["after"], strict=True):
        assert after <= before + 2, "files and threads"


@pytest.mark.anyio
async def test_processes_that_end_leave_nothing_behind(tmp_path: Path) -> None:
    times = max(3, _ASKED // 100)
    async with watching(job(str(tmp_path / "absent.mp4"))) as camera:
        await camera.until(lambda: camera.view.restarts >= 2)
        before_kib, n_open, n_threads = rss_kib(), psutil.Process().num_fds(), threading.active_count()
        n_tasks = len(asyncio.all_tasks())
        others = {child.pid for child in psutil.Process().children()}
        await camera.until(lambda: camera.view.restarts >= 2 + times)
        assert rss_kib() - before_kib < 1024
        assert psutil.Process().num_fds() <= n_open + 6, "the pipes of one process, which may just run"
        assert len(asyncio.all_tasks()) <= n_tasks + 3
        assert threading.active_count() == n_threads
        assert len([child for child in psutil.Process().children() if child.pid not in others]) <= 1


def rss_kib() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1024)
