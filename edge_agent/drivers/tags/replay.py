"""A recording of readings, played again: JSON lines or CSV.

JSON lines: `{"t_s": 12.5, "epc": "E280...", "antenna": 1, "rssi_dbm": -51.0}`; CSV: the same names in its first
line. `antenna` and `rssi_dbm` may be left out. Times are seconds from any beginning, in order.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_agent.drivers.base import TagError, TagRead, TagsEnded

_MOST_BYTES = 100_000_000
_COLUMNS = ("t_s", "epc", "antenna", "rssi_dbm")
_MOST_DIGITS = 64


class ReplayReader:
    """Plays one file from its beginning to its end, and then says that it is over."""

    def __init__(
        self,
        path: Path,
        *,
        as_fast: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            as_fast: give one reading after the other at once, in the recording's own times.
        """
        self._path, self._as_fast = path, as_fast
        self._monotonic_s, self._sleep = monotonic_s, sleep
        self._reads: list[TagRead] | None = None
        self._next = 0
        self._shift_s = 0.0
        self._well_s = 0.0

    @property
    def well_until_s(self) -> float:
        """It is well whenever it is read."""
        return self._well_s

    def open(self) -> None:
        """Read the whole file.

        Raises:
            TagError: it is not there, or a line of it makes no sense; the message tells which.
        """
        if self._reads is not None:
            return
        reads = load(self._path)
        if not reads:
            raise TagError(f"{self._path}: holds no reading")
        self._reads, self._next = reads, 0
        self._well_s = self._monotonic_s()
        self._shift_s = 0.0 if self._as_fast else self._well_s - reads[0].t_s

    def read(self, timeout_s: float) -> Sequence[TagRead]:
        """What was read since the last call.

        Raises:
            TagsEnded: all was given.
        """
        if self._reads is None:
            raise TagError(f"{self._path} is not open")
        if self._next == len(self._reads):
            raise TagsEnded(f"{self._path} is over")
        if self._as_fast:
            self._next += 1
            return self._reads[self._next - 1 : self._next]
        until_s = self._monotonic_s() + timeout_s
        due_s = self._reads[self._next].t_s + self._shift_s
        while (now_s := self._monotonic_s()) < min(due_s, until_s):
            self._sleep(min(due_s, until_s) - now_s)
        self._well_s = now_s
        found = []
        while self._next < len(self._reads) and self._reads[self._next].t_s + self._shift_s <= now_s:
            read = self._reads[self._next]
            found.append(TagRead(read.epc, read.antenna, read.t_s + self._shift_s, read.rssi_dbm))
            self._next += 1
        return found

    def close(self) -> None:
        """Forget where it was."""
        self._reads = None


def load(path: Path) -> list[TagRead]:
    """All readings of a recording.

    Raises:
        TagError: with the line that makes no sense.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise TagError(f"{path}: is larger than {_MOST_BYTES // 1_000_000} MB; cut it into pieces")
        lines = path.read_text("utf-8-sig").splitlines()
    except OSError as error:
        raise TagError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TagError(f"{path}: is no text; a recording is JSON lines or CSV") from error
    reads: list[TagRead] = []
    for number, row in _rows(path, lines):
        try:
            read = _as_read(row)
        except (ValueError, TypeError) as error:
            raise TagError(f"{path}, line {number}: {error}") from error
        if reads and read.t_s < reads[-1].t_s:
            raise TagError(f"{path}, line {number}: t_s goes back from {reads[-1].t_s:g} to {read.t_s:g}")
        reads.append(read)
    return reads


def _rows(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if numbered and not numbered[0][1].lstrip().startswith("{"):
        yield from _csv_rows(path, numbered)
        return
    for number, line in numbered:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TagError(f"{path}, line {number}: is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise TagError(f"{path}, line {number}: is no object")
        yield number, row


def _csv_rows(path: Path, numbered: Sequence[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
    first, *rest = numbered
    names = [name.strip() for name in first[1].split(",")]
    if not {"t_s", "epc"} <= set(names) <= set(_COLUMNS):
        raise TagError(f"{path}, line {first[0]}: must name the columns, of {', '.join(_COLUMNS)}")
    values: Iterable[list[str]] = csv.reader(line for _, line in rest)
    for (number, _), row in zip(rest, values, strict=False):
        if len(row) != len(names):
            raise TagError(f"{path}, line {number}: has {len(row)} values for {len(names)} columns")
        yield number, {name: text.strip() for name, text in zip(names, row, strict=True) if text.strip()}


def _as_read(row: dict[str, Any]) -> TagRead:
    unknown = sorted(row.keys() - set(_COLUMNS))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known; there is {', '.join(_COLUMNS)}")
    epc = str(row.get("epc", "")).upper()
    if not epc or len(epc) > _MOST_DIGITS or set(epc) - set("0123456789ABCDEF"):
        raise ValueError(f"epc {epc[:80]!r} is no number in hex")
    t_s = float(row["t_s"]) if "t_s" in row else math.nan
    rssi_dbm = float(row["rssi_dbm"]) if row.get("rssi_dbm") is not None else None
    if not math.isfinite(t_s) or (rssi_dbm is not None and not math.isfinite(rssi_dbm)):
        raise ValueError("t_s must be a number of seconds, and rssi_dbm a number")
    antenna = int(row.get("antenna", 1))
    if not 1 <= antenna <= 255:
        raise ValueError(f"antenna {antenna} is not between 1 and 255")
    return TagRead(epc, antenna, t_s, rssi_dbm)
