"""Word to systemd: ready, alive, stopping. Nothing happens where no systemd asks for it."""

import os
import socket
from collections.abc import Callable, Mapping


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `READY=1`, `STOPPING=1`, `STATUS=...`; whether there was somebody to tell, who took it. Never waits."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        link.setblocking(False)
        link.connect(address)
        try:
            link.sendall(state.encode())
        except BlockingIOError:
            # It has too much to read already; the lights do not wait for it.
            return False
    return True


def watchdog_interval_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd wants to hear that we live: half of what it waits for. None: it does not ask."""
    usec = environ.get("WATCHDOG_USEC", "")
    pid = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not usec.isdigit() or int(usec) == 0 or pid != str(os.getpid()):
        return None
    return int(usec) / 2_000_000


async def feed_watchdog(makes_progress: Callable[[], bool], environ: Mapping[str, str] = os.environ) -> None:
    """Tell systemd that we live, for as long as work gets done. Runs in the event loop, and so proves that too."""
    # Only here: the lights' daemon has no event loop, nor the memory for one.
    import asyncio

    interval_s = watchdog_interval_s(environ)
    if interval_s is None:
        return
    while True:
        if makes_progress():
            notify("WATCHDOG=1", environ)
        await asyncio.sleep(interval_s)
