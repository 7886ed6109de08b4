"""Whoever takes orders on an agent's machine, where its disk refuses."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.clock_source import Clock
from edge_agent.control import Control, socket_path
from edge_agent.outbox.writer import OutboxWriter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


async def test_a_disk_that_refuses_at_the_end_makes_no_failure_of_it(folder: Path) -> None:
    path = socket_path(folder)
    async with (
        OutboxWriter(folder / "outbox.db", Clock()) as writer,
        Control({}, writer, Clock()).serving(folder),
    ):
        # What root may not take away either.
        path.unlink()
        path.mkdir()
    assert path.is_dir()
