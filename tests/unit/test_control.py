"""Whoever takes orders on an agent's machine, where its disk refuses."""

from pathlib import Path

import pytest

from edge_agent.clock_source import Clock
from edge_agent.control import Control, socket_path
from edge_agent.outbox.writer import OutboxWriter

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_disk_that_refuses_at_the_end_makes_no_failure_of_it(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    async with (
        OutboxWriter(tmp_path / "outbox.db", Clock()) as writer,
        Control({}, writer, Clock()).serving(tmp_path),
    ):
        # What root may not take away either.
        path.unlink()
        path.mkdir()
    assert path.is_dir()
