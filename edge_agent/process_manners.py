"""How a process behaves that the agent started: it dies with the agent, and gives way to it."""

import contextlib
import ctypes
import os
import signal

_NICENESS = 5
_OOM_SCORE = 500
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Where the kernel can do it, it kills us when the agent dies, even if we hang."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        os._exit(1)


def give_way() -> None:
    """The agent comes first: its outbox must go on when cameras take all of the machine."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(str(_OOM_SCORE))
