"""One tag reader in a process of its own: `python -m edge_agent.rfid.process`.

Buses and readers' libraries can hang, and must not take the agent with them: this process can be killed. It reads,
and sends what it read; what that means is concluded in the agent. `edge_agent.rfid.supervisor` starts it.
"""

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from edge_agent.drivers.base import TagError, TagRead, TagReader, TagsEnded
from edge_agent.drivers.tags.opening import make_reader
from edge_agent.process_manners import die_with_parent
from edge_agent.rfid.messages import (
    Failed,
    Finished,
    Looked,
    Message,
    Opened,
    ReaderJob,
    TagSeen,
    decode_job,
    encode,
)

_READ_S = 0.25
"""How long one read may wait: as often it is looked whether to stop."""
_TELL_S = 0.1
"""Readings are told together for so long: a UHF reader gives hundreds a second."""
_BEAT_S = 1.0


def do_job(job: ReaderJob, send: Callable[[Message], None], stopping: Callable[[], bool]) -> None:
    """Read until asked to stop.

    Raises:
        TagError: it cannot go on.
    """
    reader = make_reader(job.options)
    try:
        reader.open()
        send(Opened(_boottime_ns()))
        _read_on(reader, send, stopping)
        send(Finished())
    except TagsEnded:
        send(Finished(over=True))
    finally:
        reader.close()


def _read_on(reader: TagReader, send: Callable[[Message], None], stopping: Callable[[], bool]) -> None:
    waiting: list[TagRead] = []
    told_s = time.monotonic()
    try:
        while not stopping():
            waiting += reader.read(_READ_S)
            now_s = time.monotonic()
            if now_s - told_s >= (_TELL_S if waiting else _BEAT_S):
                send(_looked(reader, waiting))
                waiting, told_s = [], now_s
    except TagsEnded:
        send(_looked(reader, waiting))
        raise
    send(_looked(reader, waiting))


def _looked(reader: TagReader, reads: Sequence[TagRead]) -> Looked:
    """What is known by now, on the machine's clock."""
    now_ns, now_s = _boottime_ns(), time.monotonic()

    def on_clock(t_s: float) -> int:
        return now_ns - int((now_s - t_s) * 1e9)

    seen = tuple(TagSeen(read.epc, read.antenna, on_clock(read.t_s), read.rssi_dbm) for read in reads)
    return Looked(now_ns, min(now_ns, on_clock(reader.well_until_s)), seen)


def _boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def main(argv: Sequence[str]) -> int:
    """Do the job that stands on standard input, tell about it on the file descriptor in `argv`."""
    pipe = int(argv[0])
    os.set_inheritable(pipe, False)
    faulthandler.enable()
    die_with_parent()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    stop: list[int] = []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    job = decode_job(sys.stdin.buffer.read())

    def send(message: Message) -> None:
        view = memoryview(encode(message))
        while view:
            view = view[os.write(pipe, view) :]

    try:
        do_job(job, send, lambda: bool(stop))
    except TagError as error:
        send(Failed(str(error)))
        return 1
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
