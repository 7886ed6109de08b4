"""How the agent's processes behave: they tell nobody of themselves; those it started die with it, and give way."""

import contextlib
import ctypes
import os
import signal

_NICENESS = 5
_OOM_SCORE = 500
_PR_SET_PDEATHSIG = 1


def tell_nobody() -> None:
    """To be called before ONNX Runtime is loaded; children inherit it. Newer releases of it keep a file of what
    they do in the home folder, and send that to their maker."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


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
