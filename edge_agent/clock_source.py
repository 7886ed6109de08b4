"""The machine's clocks: what `common.clock` needs to know of the world."""

import ctypes
import logging
import os
import time
from pathlib import Path

from common.clock import SYNCED_WITHIN_MS, Anchor, AnchorSource, Stamp

logger = logging.getLogger(__name__)

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC = 0x0040
_SYNC_CHECK_NS = 1_000_000_000


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2), as the plain symbol of the C library takes it on 32 and 64 bits."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time_s", ctypes.c_long),
        ("time_us", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("padding", ctypes.c_int * 11),
    )


def read_ntp_error_ms() -> int | None:
    """How far the system clock may be off by the kernel's own count; None: it is not synchronised.

    Raises:
        OSError: this system does not tell, as in some sandboxes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"adjtimex: {os.strerror(code)}")
    if timex.status & _STA_UNSYNC:
        return None
    return -(-int(timex.maxerror) // 1000)


class Clock:
    """Gives stamps and, while the system clock is synchronised, anchors. Any thread may call it."""

    def __init__(self) -> None:
        self.boot_id = _BOOT_ID.read_text("ascii").strip()
        self._checked_ns: int | None = None
        self._error_ms: int | None = None
        self._can_tell = True

    def stamp(self) -> Stamp:
        """The present moment."""
        boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall_ms = time.time_ns() // 1_000_000
        return Stamp(self.boot_id, boottime_ns, wall_ms, self._synced(boottime_ns))

    def error_ms(self) -> int | None:
        """How far the system clock may be off; None: it is not synchronised, or nobody can tell."""
        self._synced(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        return self._error_ms

    def anchor(self) -> Anchor | None:
        """What NTP says about the present moment; None: the clock is not synchronised."""
        stamp = self.stamp()
        if not stamp.synced or self._error_ms is None:
            return None
        return Anchor(stamp.boot_id, stamp.boottime_ns, stamp.wall_ms, self._error_ms, AnchorSource.NTP)

    def _synced(self, now_ns: int) -> bool:
        """Whether the clock is synchronised; asked of the kernel once a second."""
        if self._can_tell and (self._checked_ns is None or now_ns - self._checked_ns >= _SYNC_CHECK_NS):
            try:
                self._error_ms = read_ntp_error_ms()
            except OSError as error:
                self._can_tell, self._error_ms = False, None
                logger.warning(
                    "whether the clock is right cannot be told: %s; times come from the collector",
                    error,
                    extra={"action": "clock_unknown"},
                )
            self._checked_ns = now_ns
        return self._error_ms is not None and self._error_ms < SYNCED_WITHIN_MS


def collector_anchor(sent: Stamp, received: Stamp, server_time_ms: int) -> Anchor:
    """What a collector's `server_time` says: it was read between request and answer, so half the round trip is the
    error."""
    round_trip_ns = received.boottime_ns - sent.boottime_ns
    error_ms = -(-round_trip_ns // 2_000_000)
    return Anchor(
        sent.boot_id,
        sent.boottime_ns + round_trip_ns // 2,
        server_time_ms,
        max(1, error_ms),
        AnchorSource.COLLECTOR,
    )
