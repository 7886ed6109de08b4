"""Asking the kernel to put the lights before everything else. What it refuses is done without."""

import contextlib
import ctypes
import gc
import logging
import os
import resource
import sys

logger = logging.getLogger(__name__)

PRIORITY = 20
"""Among real-time processes, of 1 to 99: before all ordinary ones, after the kernel's own threads."""
NICE = -15
REFUSED = "no real-time priority"
"""How `come_first` begins to tell so."""
_SWITCH_INTERVAL_S = 0.001
_M_ARENA_MAX = -8
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4


def come_first() -> str:
    """For the whole process, and threads that are made from now on; how it went, for the log."""
    # A thread that wants the interpreter gets it within a millisecond, not within five.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    return ", ".join([_real_time(), "memory stays in place" if _stay_in_memory() else "memory may be swapped"])


def step_back() -> str:
    """Be an ordinary process again, where that is configured."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "ordinary priority, as configured"


def share_memory() -> None:
    """Before any thread is made: none gets an arena of its own to allocate from, of which it would use little."""
    with contextlib.suppress(AttributeError):
        # Of glibc alone.
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def settle() -> None:
    """After start-up: what is there by now is never looked through by the garbage collector again, and what
    reading the configuration took is given back."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):
        # Of glibc alone.
        ctypes.CDLL(None).malloc_trim(0)


def why_no_real_time() -> str:
    """Asks for it, and is ordinary again: why it is refused, or nothing."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        return error.strerror or str(error)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, *before)
    return ""


def _real_time() -> str:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError as error:
        # All that is left: the kernel's ordinary scheduler lets a process that wakes up wait for others' slices.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        return f"{REFUSED}: {error.strerror}; nice {os.getpriority(os.PRIO_PROCESS, 0)}"
    return f"real-time priority {PRIORITY}"


def _stay_in_memory() -> bool:
    """Pages are kept once they have been touched; those that never are stay unmapped and cost nothing.

    Only where the process may lock any amount: else a later thread could not get its stack.
    """
    if os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] != resource.RLIM_INFINITY:
        return False
    flags = _MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT
    return bool(ctypes.CDLL(None, use_errno=True).mlockall(flags) == 0)
