"""Opens and closes a source again and again, and prints what it costs: `... reconnect_child URL TIMES`."""

import contextlib
import gc
import json
import sys
import threading

import psutil

from edge_agent.drivers.base import SourceError
from edge_agent.drivers.sources.opening import open_source
from edge_agent.drivers.sources.options import SourceOptions

_LOOKS = 20


def main(url: str, times: int) -> None:
    """One JSON object: memory in KiB at even steps, open files and threads before and after, pictures read."""
    for n in range(max(10, times // 10)):
        read_some(url, n)
    process = psutil.Process()
    before = process.num_fds(), threading.active_count()
    rss_kib, n_read = [], 0
    for n in range(times):
        n_read += read_some(url, n)
        if n % max(1, times // _LOOKS) == 0:
            gc.collect()
            rss_kib.append(process.memory_info().rss / 1024)
    after = process.num_fds(), threading.active_count()
    print(json.dumps({"rss_kib": rss_kib, "before": before, "after": after, "n_read": n_read}))


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


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
