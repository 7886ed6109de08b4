"""Tries a tag reader."""

import asyncio

from edge_agent.checks.findings import Finding, Verdict
from edge_agent.config.reader import ReaderSettings
from edge_agent.redact import redact
from edge_agent.rfid.child import ReaderChild, ReaderGarbled
from edge_agent.rfid.messages import Failed, Finished, Looked, Opened, ReaderJob

_OPEN_S = 30.0
_LOOK_S = 2.0


async def check_reader(reader: ReaderSettings) -> Finding:
    """Whether it answers, and what it reads now; in a process of its own, since it may hang."""
    what = f"reader {reader.name}"
    try:
        async with await ReaderChild.start(ReaderJob(reader.name, reader.options)) as child:
            found = await _watch(child, what)
            await child.end()
            return found
    except (OSError, ReaderGarbled) as error:
        return Finding(Verdict.FAIL, what, f"cannot be tried: {error}")


async def _watch(child: ReaderChild, what: str) -> Finding:
    loop = asyncio.get_running_loop()
    until_s, opened = loop.time() + _OPEN_S, False
    seen: dict[int, set[str]] = {}
    while not child.ended and (left_s := until_s - loop.time()) > 0:
        message = await child.receive(timeout_s=min(1.0, left_s))
        if isinstance(message, Opened):
            opened, until_s = True, loop.time() + _LOOK_S
        elif isinstance(message, Looked):
            for one in message.seen:
                seen.setdefault(one.antenna, set()).add(one.epc)
        elif isinstance(message, Failed):
            return Finding(Verdict.FAIL, what, redact(message.message))
        elif isinstance(message, Finished):
            break
    if opened:
        return Finding(Verdict.OK, what, f"answers; {_tags(seen)}")
    words = (
        f"its process died: {child.last_words}" if child.ended else f"no answer within {_OPEN_S:.0f} s; it hangs"
    )
    return Finding(Verdict.FAIL, what, words)


def _tags(seen: dict[int, set[str]]) -> str:
    if not seen:
        return "no tag is before it now"
    return "tags before it now: " + ", ".join(f"antenna {n}: {len(epcs)}" for n, epcs in sorted(seen.items()))
