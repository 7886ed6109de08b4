"""A collector for `bench_orders`, in a process of its own, that takes orders from anybody."""

import os
import sys
from pathlib import Path

from collector.commands.serve import Server
from collector.config import CollectorConfig
from collector.embedded import Database
from collector.listening import listening_socket
from collector.ops.logs import set_up_logging
from tests.servers.ordering import OrderingCollector


def main(dsn: str, ready: Path) -> int:
    """Serve on a free port, whose number goes into the file `ready`, until told to stop."""
    set_up_logging("text", level=40)
    config = CollectorConfig(dsn=dsn, state_dir=Path("/nonexistent"))
    with listening_socket("127.0.0.1", 0) as listener:
        collector = OrderingCollector(config, Database(dsn, None), reading_open=True, on_death=lambda: None)
        fresh = ready.with_suffix(".new")
        fresh.write_text(str(listener.getsockname()[1]))
        os.replace(fresh, ready)
        Server(collector).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
