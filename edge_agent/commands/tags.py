"""Show tags as they pass, one line each: to try a reader, to point its antennas, to find its power.

With --config the readers of a configuration are watched, and tags are written as it says (hashed, raw, or not at
all); stop the agent before, since a reader speaks to one program at a time. With --reader it is any reader:
mfrc522, llrp://HOST, sim, or a file of recorded readings, which is played at once.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from edge_agent.commands.options import DEFAULT_CONFIG, Subparsers, add_command
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.domain.epc import EpcForm, EpcMask
from edge_agent.domain.passage import Passage, PassageCounter, PassageParams
from edge_agent.drivers.base import TagError, TagsEnded
from edge_agent.drivers.tags.opening import make_reader
from edge_agent.drivers.tags.options import FILE, MFRC522, ReaderOptions, parse_device
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from edge_agent.rfid.child import ReaderChild, ReaderGarbled
from edge_agent.rfid.keys import EpcKeyError
from edge_agent.rfid.messages import Failed, Looked, Opened, ReaderJob
from edge_agent.rfid.plans import reader_plans
from edge_agent.rfid.supervisor import ReaderPlan

_HANGS_S = 40.0
When = Callable[[Passage], str]
"""The moment of a passage, for people."""


def add(subparsers: Subparsers) -> None:
    """Add `tags` to the command line."""
    parser = add_command(subparsers, "tags", __doc__, run)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--config",
        type=Path,
        metavar="F",
        default=DEFAULT_CONFIG,
        help=f"configuration (default: {DEFAULT_CONFIG})",
    )
    which.add_argument("--reader", metavar="DEVICE", help="mfrc522, mfrc522:BUS.CHIP, llrp://HOST, sim, or a file")
    parser.add_argument("--antennas", default="1", metavar="N,N", help="antennas of that reader (default: 1)")
    parser.add_argument("--seconds", type=float, metavar="N", help="how long to watch (default: until Ctrl-C)")


def run(options: argparse.Namespace) -> int:
    """Watch, print, and say in the end how many there were."""
    try:
        plans = _plans(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except ValueError as error:
        return _fail(str(error), EXIT_USAGE)
    except EpcKeyError as error:
        return _fail(str(error), EXIT_FAILED)
    if not plans:
        return _fail(f"{options.config} has no reader; add a [[readers]] section, or use --reader", EXIT_USAGE)
    if options.reader and parse_device(options.reader).kind == FILE:
        return _play(plans[0])
    return asyncio.run(_watch_all(plans, options.seconds))


def _plans(options: argparse.Namespace) -> list[ReaderPlan]:
    if not options.reader:
        return reader_plans(load_config(options.config))
    antennas = tuple(int(number) for number in options.antennas.split(",") if number.strip().isdecimal())
    if not antennas or 0 in antennas:
        raise ValueError(f"--antennas {options.antennas}: write numbers from 1, as 1,2")
    device = ReaderOptions(options.reader, antennas, as_fast=True)
    least = 1 if parse_device(options.reader).kind == MFRC522 else 2
    return [ReaderPlan(ReaderJob("reader", device), PassageParams(min_reads=least), {}, EpcMask(EpcForm.RAW))]


def _fail(text: str, code: int) -> int:
    print(f"stopline-agent tags: {text}", file=sys.stderr)
    return code


def _play(plan: ReaderPlan) -> int:
    """A recording, in its own times."""
    counter = PassageCounter(plan.passage)
    reader = make_reader(plan.job.options)
    n = 0
    try:
        reader.open()
        while True:
            (read,) = reader.read(0.0)
            n += _print(plan, counter.update([read], read.t_s), lambda passage: f"{passage.t_s:12.3f} s")
    except TagsEnded:
        n += _print(plan, counter.settle(), lambda passage: f"{passage.t_s:12.3f} s")
        _sum_up(n, counter.n_ghosts)
        return EXIT_OK
    except TagError as error:
        return _fail(str(error), EXIT_FAILED)


async def _watch_all(plans: Iterable[ReaderPlan], seconds: float | None) -> int:
    """All readers side by side. One that fails does not end the others."""
    tasks = [asyncio.create_task(_watch(plan, seconds)) for plan in plans]
    try:
        codes = await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        # Ctrl-C.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return max(codes)


async def _watch(plan: ReaderPlan, seconds: float | None) -> int:
    counter = PassageCounter(plan.passage)
    try:
        async with await ReaderChild.start(plan.job) as child:
            trouble, n = await _listen(child, plan, counter, seconds)
            await child.end()
    except (OSError, ReaderGarbled) as error:
        return _fail(f"{plan.name}: {error}", EXIT_FAILED)
    n += _print(plan, counter.settle(), _clock)
    _sum_up(n, counter.n_ghosts)
    return _fail(trouble, EXIT_FAILED) if trouble else EXIT_OK


async def _listen(
    child: ReaderChild, plan: ReaderPlan, counter: PassageCounter, seconds: float | None
) -> tuple[str, int]:
    """Until the time is over or the reader fails: what failed, and how many passed."""
    loop = asyncio.get_running_loop()
    end_s, heard_s, n = None, loop.time(), 0
    while not child.ended and (end_s is None or loop.time() < end_s):
        message = await child.receive(timeout_s=0.2)
        if message is not None:
            heard_s = loop.time()
        elif loop.time() - heard_s > _HANGS_S:
            return f"{plan.name} hangs: no word for {_HANGS_S:.0f} s", n
        match message:
            case Opened():
                end_s = None if seconds is None else loop.time() + seconds
                print(f"{plan.name}: {plan.job.options.device} answers; waiting for tags", file=sys.stderr)
            case Looked():
                n += _print(plan, counter.update(message.seen, message.now_ns / 1e9), _clock)
            case Failed():
                return message.message, n
    return (f"{plan.name}: its process died: {child.last_words}" if child.ended and end_s else ""), n


def _print(plan: ReaderPlan, passages: Iterable[Passage], when: When) -> int:
    """Each of them; how many there were."""
    passages = list(passages)
    for passage in passages:
        epc = plan.mask.write(passage.epc, time.time_ns() // 1_000_000) or "-"
        source = plan.sources.get(passage.antenna, f"antenna {passage.antenna}")
        strength = "" if passage.rssi_dbm is None else f"  {passage.rssi_dbm:.1f} dBm"
        way = "" if passage.direction == "none" else f"  {passage.direction}"
        stay_s = passage.last_s - passage.first_s
        print(
            f"{when(passage)}  {epc}  {source}{strength}  {passage.n_reads} readings in {stay_s:.1f} s{way}",
            flush=True,
        )
    return len(passages)


def _clock(passage: Passage) -> str:
    """The time of day at which it passed."""
    ago_s = time.clock_gettime(time.CLOCK_BOOTTIME) - passage.t_s
    return datetime.fromtimestamp(time.time() - ago_s).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _sum_up(n: int, n_ghosts: int) -> None:
    ghosts = f", {n_ghosts} with too few readings" if n_ghosts else ""
    print(f"passed: {n}{ghosts}", file=sys.stderr)
