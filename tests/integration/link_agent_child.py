"""The agent's end of the link with a real outbox, and nothing else, until it is killed. Run by test_link_kill.py.

Arguments: the socket, the outbox's file, and a log that grows with everything that was kept.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from common.clock import Stamp
from common.records import Record
from edge_agent.clock_source import Clock
from edge_agent.link.client import LightsLink, LightsView
from edge_agent.outbox.writer import OutboxWriter


class Telling:
    """The outbox, and a word before and after each time that it takes something in."""

    def __init__(self, writer: OutboxWriter, log: int) -> None:
        self.writer, self.log = writer, log

    async def take_in(self, source: str, numbered: Sequence[tuple[int, Record, Stamp]]) -> bool:
        os.write(self.log, b"begins\n")
        durable = await self.writer.take_in(source, numbered)
        os.write(self.log, b"ends\n")
        return durable

    async def known_sources(self) -> dict[str, int]:
        return await self.writer.known_sources()


async def main(path: str, outbox: str, log: str) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with OutboxWriter(Path(outbox), Clock()) as writer:
        link = LightsLink(Path(path), Telling(writer, handle), LightsView())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run())
            tasks.create_task(link.run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
