"""Starts a process that talks to us over a pipe of its own. Codecs and drivers live in such processes alone."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process, what it sends over its pipe, and what must be closed when it is gone."""

    process: Process
    pipe: asyncio.StreamReader
    transport: asyncio.BaseTransport


async def spawn(module: str, environ: Mapping[str, str], *, most_bytes: int, keep_stderr: bool = False) -> Spawned:
    """Run `module` with the number of its end of the pipe as only argument, and its standard input open.

    Args:
        most_bytes: how much may wait in the pipe's buffer here.
        keep_stderr: read what it writes there, rather than let it go where ours goes.
    """
    read_fd, write_fd = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, str(write_fd)),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=PIPE if keep_stderr else None,
            pass_fds=(write_fd,),
            env=dict(environ),
        )
    except BaseException:
        os.close(read_fd)
        raise
    finally:
        # The pipe ends when its last writer is gone, so the child must be the only one.
        os.close(write_fd)
    pipe = asyncio.StreamReader(limit=most_bytes)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(pipe), os.fdopen(read_fd, "rb", buffering=0)
    )
    return Spawned(process, pipe, transport)
