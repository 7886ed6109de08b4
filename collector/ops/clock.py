"""The collector's clock."""

import time


def unix_ms() -> int:
    """UTC in ms since 1970."""
    return time.time_ns() // 1_000_000
