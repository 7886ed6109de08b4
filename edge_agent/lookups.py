"""An event loop that does not wait for name servers when it ends.

A name server that is silent holds a lookup up for half a minute, in a thread that nobody can stop. asyncio waits
for such threads at its end, and nothing is counted meanwhile.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Any

_Found = list[tuple[Any, ...]]


class PatientLoop(asyncio.SelectorEventLoop):
    """Looks names up in threads of their own, which are left behind when it ends."""

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """See `socket.getaddrinfo`."""
        answer: asyncio.Future[_Found] = self.create_future()

        def settle(found: _Found | BaseException) -> None:
            if answer.done():
                return
            if isinstance(found, BaseException):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def look_up() -> None:
            found: Any
            try:
                found = socket.getaddrinfo(host, port, family, type, proto, flags)
            except Exception as error:  # noqa: BLE001 - whatever it is, who asked is told
                found = error
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                self.call_soon_threadsafe(settle, found)

        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        return await answer
