"""When to ask again, and how much to send. Pure."""

from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from common.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, Pace

MIN_WAIT_S = 0.2
MAX_RETRY_AFTER_S = 3600.0
_BACKOFF_BASE_S, _BACKOFF_CAP_S = 1.0, 300.0
_SLOW_BASE_S, _SLOW_CAP_S = 60.0, 900.0
_ENVELOPE_BYTES = 1024


def backoff_s(failures: int, rng: Random, *, slow: bool = False) -> float:
    """Full jitter: any wait up to a bound that doubles with each failure in a row, so that a fleet whose collector
    went away does not come back all at once.

    Args:
        failures: in a row, from 1.
        slow: only people can mend it: begin with a minute, end with a quarter of an hour.
    """
    base_s, cap_s = (_SLOW_BASE_S, _SLOW_CAP_S) if slow else (_BACKOFF_BASE_S, _BACKOFF_CAP_S)
    bound_s = min(cap_s, base_s * 2.0 ** min(failures - 1, 30))
    return max(MIN_WAIT_S, rng.uniform(bound_s / 2 if slow else 0.0, bound_s))


def spread_s(wait_s: float, rng: Random) -> float:
    """What a collector asked to wait, and up to a fifth more: it asks many agents for the same."""
    return max(MIN_WAIT_S, wait_s) * rng.uniform(1.0, 1.2)


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """The seconds of a `Retry-After` header, which is a number or a date; None: there is none that can be read."""
    if not value:
        return None
    try:
        wait_s = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value)
        except ValueError:
            return None
        wait_s = (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now_s
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S) if wait_s == wait_s else None


class BatchSize:
    """How much goes into the next batch: what the collector allows, less after it said that one was too large."""

    def __init__(self) -> None:
        self.max_records = 500
        self._max_bytes = 1024 * 1024
        self._pace_records = self.max_records

    @property
    def max_bytes(self) -> int:
        """Of the records together, so that the whole batch stays within what is allowed."""
        return self._max_bytes - _ENVELOPE_BYTES

    def follow(self, pace: Pace) -> None:
        """The collector took a batch, and says how it wants the next."""
        self._pace_records = min(max(pace.max_records, 1), MAX_BATCH_RECORDS)
        self._max_bytes = min(max(pace.max_bytes, 4 * _ENVELOPE_BYTES), MAX_BATCH_BYTES)
        self.max_records = min(self._pace_records, self.max_records * 2)

    def halve(self, n_records: int) -> None:
        """A batch of `n_records` was too large."""
        self.max_records = max(1, n_records // 2)
