"""`stopline-collector serve`: the daemon."""

import argparse
import gc
import logging
import signal
import socket
from typing import Any

import uvicorn
from litestar.types import ASGIApp

from collector.app import Collector
from collector.commands.database import add_common_options, opened, settings
from collector.commands.workers import Workers
from collector.config import CollectorConfig
from collector.embedded import Database
from collector.errors import SettingError
from collector.ingest.queue import Limits
from collector.listening import is_loopback, listening_socket
from collector.ops.worker import WorkerLink

_log = logging.getLogger(__name__)

_BACKLOG = 2048
_KEEP_ALIVE_S = 75
_GC_ALLOCATIONS = 200_000
GRACE_S = 15
"""How long open requests, event streams among them, may go on when the collector stops."""


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("serve", help="take in batches, answer readers")
    add_common_options(parser)
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on; 0: any free one (default: 8080)")
    parser.add_argument(
        "--open-reading",
        action="store_true",
        default=None,
        help="let everyone read who reaches a non-loopback address, without signing in",
    )
    parser.add_argument("--workers", type=int, help="processes that serve; several need Redis (default: 1)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, _give_up)
    given = {name: getattr(options, name) for name in ("host", "port", "open_reading", "workers")}
    config = settings(options, **given)
    check_workers(config)
    with listening_socket(config.host, config.port) as listener, opened(config) as database:
        if config.workers == 1:
            return serve(config, database, listener)
        return serve_by_workers(config, database, listener)


def check_workers(config: CollectorConfig) -> None:
    """Raises SettingError: several workers could not tell each other of live events."""
    if config.workers > 1 and config.live.redis is None:
        raise SettingError(
            f"workers = {config.workers}: several workers tell each other of live events through Redis or Valkey:"
            ' set redis = "redis://127.0.0.1:6379/0" under [live] (STOPLINE_LIVE__REDIS), or leave workers at 1'
        )


def serve_by_workers(config: CollectorConfig, database: Database, listener: socket.socket) -> int:
    """Run `config.workers` processes on `listener` until told to stop; 1 if they cannot go on."""

    def work(link: WorkerLink) -> int:
        return serve(config, Database(database.dsn, None), listener, worker=link)

    _tell_address(listener)
    gc.freeze()  # What was loaded so far is shared by all, for as long as nobody touches it.
    return Workers(config.workers, work, database.embedded).run()


def _give_up(*_: object) -> None:
    """SIGTERM before the server runs: what was opened so far is closed on the way out."""
    raise KeyboardInterrupt


def serve(
    config: CollectorConfig,
    database: Database,
    listener: socket.socket,
    *,
    limits: Limits | None = None,
    worker: WorkerLink | None = None,
) -> int:
    """Run the application on `listener` until it is told to stop; 1 if one of its parts failed.

    `worker`: it is one of several, whose parent has told what there is to tell.
    """
    host = listener.getsockname()[0]
    failed = False

    def stop() -> None:
        nonlocal failed
        failed = True
        server.should_exit = True

    # Whoever comes through a proxy comes from elsewhere.
    is_private = is_loopback(host) and not config.trusted_proxies
    reading_open = config.open_reading or is_private
    secure_cookies = not is_private if config.secure_cookies is None else config.secure_cookies
    collector = Collector(
        config,
        database,
        reading_open=reading_open,
        on_death=stop,
        limits=limits,
        secure_cookies=secure_cookies,
        worker=worker,
    )
    server = Server(collector, config.trusted_proxies)
    # Before anybody is told that it is ready: who comes a moment too early waits, and is not refused.
    listener.listen(_BACKLOG)
    if worker is None:
        _tell_address(listener)
    if not reading_open and (worker is None or worker.is_first):
        _log.info("Readers have to sign in on this address", extra={"action": "reading_closed"})
    _tune_garbage_collection()
    # uvicorn stops in order on a signal, and then raises it again; what is still open has yet to be closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[listener])
    return 1 if failed or not server.started else 0


def _tell_address(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    _log.info("Listening on http://%s:%d", shown, port, extra={"action": "listening", "port": port})


class Server(uvicorn.Server):
    """Runs a collector's application. When it stops it lets all go who would wait for long: live listeners, whose
    streams would never end, and devices that wait for orders."""

    def __init__(self, collector: Collector, trusted_proxies: str = "") -> None:
        super().__init__(server_settings(collector.app, trusted_proxies))
        self._hub, self._desk = collector.hub, collector.desk

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        self._desk.close()
        await super().shutdown(sockets)


def _tune_garbage_collection() -> None:
    """Batches are many thousand objects that live for milliseconds and hold no cycles.

    As set by default, the collector of cycles looks at all that lives, the framework included, again and again
    while they are made: a good part of the time that a batch takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 20, 20)


def server_settings(app: ASGIApp, trusted_proxies: str = "") -> uvicorn.Config:
    """How uvicorn runs the application. `trusted_proxies` are believed whom they pass on."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=trusted_proxies,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
