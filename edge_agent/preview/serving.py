"""The root of the preview: puts studio, gate and web server together, and runs them until Ctrl-C."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from edge_agent.preview.access import Access
from edge_agent.preview.http import HttpServer
from edge_agent.preview.site import Site
from edge_agent.preview.studio import Studio
from edge_agent.preview.terminal import own_addresses, own_names, show_code

_TICK_S = 1.0


async def serve(studio: Studio, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve until `stop`. Prints the code, and a new one when one is due.

    Raises:
        OSError: the address cannot be used.
    """
    gate = Access()
    site = Site(studio, gate, own_names(), lambda peer: print(f"opened by {peer}", flush=True))
    async with HttpServer(site.answer).serving(host, port) as bound, asyncio.TaskGroup() as tasks:
        addresses = own_addresses(host)

        def tell() -> None:
            show_code(gate.code or gate.renew(), addresses, bound)

        print(
            f"preview of camera {studio.camera} ({studio.source}); open on a phone in the same network", flush=True
        )
        tell()
        print("Ctrl-C ends it", flush=True)
        holding = tasks.create_task(studio.run())

        def another() -> None:
            gate.renew()
            tell()

        with _on_enter(another):
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _TICK_S)
                if gate.is_shut(time.monotonic()) and not stop.is_set():
                    tell()
        holding.cancel()


@contextlib.contextmanager
def _on_enter(act: Callable[[], None]) -> Iterator[None]:
    """Calls `act` at each line that is typed, where somebody can type."""
    if not sys.stdin or not sys.stdin.isatty():
        yield
        return
    loop = asyncio.get_running_loop()

    def typed() -> None:
        if sys.stdin.readline():
            act()
        else:
            loop.remove_reader(sys.stdin)

    loop.add_reader(sys.stdin, typed)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin)
