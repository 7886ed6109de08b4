"""A collector for `bench_ingest`, in a process of its own: the real one, with the group's size as an option."""

import os
import sys
from pathlib import Path

from collector.commands.serve import serve
from collector.config import CollectorConfig
from collector.embedded import Database
from collector.ingest.queue import Limits
from collector.listening import listening_socket
from collector.ops.logs import set_up_logging


def main(dsn: str, group_requests: int, ready: Path) -> int:
    """Serve on a free port, whose number goes into the file `ready`, until told to stop."""
    set_up_logging("text", level=30)
    config = CollectorConfig(dsn=dsn, state_dir=Path("/nonexistent"))
    limits = Limits(group_requests=group_requests)
    with listening_socket("127.0.0.1", 0) as listener:
        fresh = ready.with_suffix(".new")
        fresh.write_text(str(listener.getsockname()[1]))
        os.replace(fresh, ready)
        return serve(config, Database(dsn, None), listener, limits=limits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
