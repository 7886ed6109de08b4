"""A real collector on a free port, in a thread of the test process: real HTTP, real PostgreSQL."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from collector.app import Collector
from collector.commands.serve import Server
from collector.config import CollectorConfig, Retention
from collector.embedded import Database
from collector.identity.passwords import Passwords
from collector.ingest.queue import Limits
from collector.listening import listening_socket

_START_TIMEOUT_S = 30.0
KEPT = Retention.model_validate(dict.fromkeys(Retention.model_fields, "forever"))


def weak_passwords() -> Passwords:
    """Hashed with hardly any work: what is tested is not how long it takes."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@dataclass(frozen=True)
class RunningCollector:
    """A collector that serves."""

    dsn: str
    port: int
    parts: Collector
    loop: asyncio.AbstractEventLoop
    """In which all its parts live."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Server(Server):
    loop: asyncio.AbstractEventLoop

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)


@contextmanager
def running_collector(
    dsn: str,
    *,
    limits: Limits | None = None,
    reading_open: bool = True,
    port: int = 0,
    kind: type[Collector] = Collector,
    **settings: Any,
) -> Iterator[RunningCollector]:
    """Runs until the block ends, then stops in order. `port` 0: a free one.

    Facts are kept for ever: theirs are days of some year or other, and a slow test sees the first maintenance.
    """
    settings.setdefault("retention", KEPT)
    config = CollectorConfig(dsn=dsn, state_dir=Path("/nonexistent"), **settings)
    parts = kind(
        config,
        Database(dsn, None),
        reading_open=reading_open,
        on_death=lambda: None,
        limits=limits,
        passwords=weak_passwords(),
        secure_cookies=False,
    )
    with listening_socket("127.0.0.1", port) as listener:
        server = _Server(parts, config.trusted_proxies)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="collector")
        thread.start()
        try:
            deadline_s = time.monotonic() + _START_TIMEOUT_S
            while not server.started:
                assert thread.is_alive(), "the collector did not start"
                assert time.monotonic() < deadline_s, "the collector starts too slowly"
                time.sleep(0.005)
            yield RunningCollector(dsn, listener.getsockname()[1], parts, server.loop)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the collector does not stop"
