"""A camera that comes and goes for months must not cost memory, threads or open files.

STOPLINE_RECONNECTS says how often; 10000 takes some minutes, a hundred do here.
"""

import contextlib
import gc
import os
import threading
from pathlib import Path

import psutil
import pytest

from edge_agent.drivers.base import SourceError
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.options import SourceOptions
from tests.integration.camera_helpers import job, watching
from tests.servers.network_camera import NetworkCamera, RtspCamera

_KIB = 1024
_ASKED = os.environ.get("STOPLINE_RECONNECTS")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def rss_kib() -> float:
    gc.collect()
    return float(psutil.Process().memory_info().rss / _KIB)


def n_open_files() -> int:
    return int(psutil.Process().num_fds())


def slope(values: list[float]) -> float:
    """Growth from one value to the next, by least squares."""
    middle = (len(values) - 1) / 2
    return sum((n - middle) * value for n, value in enumerate(values)) / sum(
        (n - middle) ** 2 for n in range(len(values))
    )


def read_some(url: str, n: int) -> int:
    """Open, read a picture or, every other time, to where the connection breaks; how many pictures there were.

    A reader that is late finds the connection broken: the camera sends some pictures and hangs up.
    """
    source = open_source(url, options=SourceOptions(rotation_deg=90))
    n_read = 0
    with contextlib.closing(source), contextlib.suppress(SourceError):
        source.open()
        while n_read < (10 if n % 2 else 1):
            source.read(5.0)
            n_read += 1
    return n_read


@pytest.mark.timeout(3600 if _ASKED else 300)
@pytest.mark.parametrize(
    ("kind", "times", "fps"), [(NetworkCamera, 120, 0.0), (RtspCamera, 10, 120.0)], ids=["http", "rtsp"]
)
def test_reconnecting_costs_nothing(kind: type[NetworkCamera], times: int, fps: float) -> None:
    times = int(_ASKED) if _ASKED else times
    with kind(per_connection=25, fps=fps) as camera:
        for n in range(times // 4):
            read_some(camera.url, n)
        camera.requests.clear()
        files, threads = n_open_files(), threading.active_count()
        values, n_read = [], 0
        for n in range(times):
            n_read += read_some(camera.url, n)
            if n % max(1, times // 20) == 0:
                values.append(rss_kib())
                camera.requests.clear()
        per_reconnect_kib = slope(values) / max(1, times // 20)
    growth = f"{values[0]:.0f} to {values[-1]:.0f} KiB, {per_reconnect_kib * 1024:.0f} bytes each"
    print(f"{times} reconnects: {growth}")
    assert n_read > times
    assert per_reconnect_kib * (10_000 if _ASKED else times) < 3072, "3 MiB is what the allocator may scatter"
    assert n_open_files() <= files + 4
    assert threading.active_count() <= threads + 4


@pytest.mark.anyio
async def test_processes_that_end_leave_nothing_behind(tmp_path: Path) -> None:
    times = max(3, int(_ASKED or 0) // 100)
    async with watching(job(str(tmp_path / "absent.mp4"))) as camera:
        await camera.until(lambda: camera.view.restarts >= 2)
        before_kib, files, threads = rss_kib(), n_open_files(), threading.active_count()
        await camera.until(lambda: camera.view.restarts >= 2 + times)
        assert rss_kib() - before_kib < 1024
        assert n_open_files() <= files + 6, "the pipes of one process, which may just run"
        assert threading.active_count() == threads
        assert len(psutil.Process().children()) <= 1
