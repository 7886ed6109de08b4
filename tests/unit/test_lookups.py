"""Lookups of names: they answer, fail, and hold up nobody."""

import asyncio
import contextlib
import socket
import threading

import pytest

from edge_agent.lookups import PatientLoop

SILENT_S = 10.0


def run(host: str, patience_s: float | None = None) -> object:
    async def ask() -> object:
        async with asyncio.timeout(patience_s):
            return await asyncio.get_running_loop().getaddrinfo(host, 80, type=socket.SOCK_STREAM)

    with asyncio.Runner(loop_factory=PatientLoop) as runner:
        return runner.run(ask())


def test_what_the_system_knows_is_answered() -> None:
    assert run("127.0.0.1") == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)


def test_what_it_does_not_know_is_told() -> None:
    with pytest.raises(socket.gaierror):
        run("nowhere.invalid.")


def test_a_silent_name_server_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: answered.wait(SILENT_S) and [])

    def ask() -> None:
        with contextlib.suppress(TimeoutError):
            run("collector.example.org", patience_s=0.01)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join(SILENT_S / 2)
    assert not asking.is_alive()
    answered.set()
