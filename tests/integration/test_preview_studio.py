"""The preview's hold on its camera process: one that hangs is replaced, and the page hears of it meanwhile."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.preview.editing import Drawing, Drawn
from edge_agent.preview.studio import NotNow, Studio, holders

TEXT = """\
name = "pi"
[[cameras]]
name = "north"
source = "sim:road"
"""
PATIENCE_S = 30.0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(TEXT)
    return path


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


async def until(studio: Studio, good: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The state, once it is as it should be."""
    async with asyncio.timeout(PATIENCE_S):
        while not good(state := studio.state()):
            await asyncio.sleep(0.05)
    return state


def has_picture(state: dict[str, Any]) -> object:
    return state["report"] and state["report"].width_px and not state["trouble"]


def test_a_process_that_hangs_is_replaced(config: Path) -> None:
    async def go() -> None:
        studio = Studio(config, None, silence_s=2.0)
        before = children()
        running = asyncio.create_task(studio.run())
        try:
            await until(studio, has_picture)
            (pid,) = children() - before
            os.kill(pid, signal.SIGSTOP)
            told = await until(studio, lambda state: state["trouble"])
            assert "hangs in its driver" in told["trouble"]["text"]
            await until(studio, has_picture)
            assert pid not in children()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert children() <= before

    asyncio.run(go())


def test_what_is_drawn_is_counted_at_and_what_did_not_change_keeps_its_count(config: Path) -> None:
    first = Drawn("first", ((60.0, 240.0), (580.0, 240.0)))

    async def go() -> None:
        studio = Studio(config, None)
        running = asyncio.create_task(studio.run())
        try:
            await until(studio, has_picture)
            studio.attempt(Drawing((first,)))
            state = await until(studio, lambda s: any(line.n_in + line.n_out for line in s["report"].lines))
            counted = state["report"].lines[0].n_in + state["report"].lines[0].n_out
            studio.attempt(Drawing((first, Drawn("second", first.points))))
            state = await until(studio, lambda s: len(s["report"].lines) == 2)
            old, new = state["report"].lines
            assert (old.name, new.name) == ("first", "second")
            # What has crossed since was counted at both, since they lie in one place.
            assert old.n_in + old.n_out - new.n_in - new.n_out >= counted > 0
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(go())


def test_there_must_be_such_a_camera(config: Path) -> None:
    with pytest.raises(NotNow, match="there is north"):
        Studio(config, "south")


def test_who_holds_a_device_is_named() -> None:
    with open("/dev/null", "rb"):
        assert any(f"(process {os.getpid()})" in who for who in holders("/dev/null"))
    assert holders("rtsp://camera/1") == []
    assert holders("77") == []
