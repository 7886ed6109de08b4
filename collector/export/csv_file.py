"""CSV after RFC 4180, in UTF-8. A text that a spreadsheet would take for a formula begins with an apostrophe."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from collector.export.tables import Column, Kind

Row = Sequence[Any]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a cell a formula in the common spreadsheets, at its beginning."""


class CsvFile:
    """Rows to bytes. The first line has the columns' names."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._changes = [(i, _CHANGES[c.kind]) for i, c in enumerate(columns) if c.kind in _CHANGES]

    def start(self) -> bytes:
        """What comes first."""
        return self._write([[column.name for column in self._columns]])

    def add(self, rows: Sequence[Row]) -> bytes:
        """The rows."""
        if not rows:
            return b""
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
        for index, change in self._changes:
            # Most columns have few different values.
            told = {value: change(value) for value in set(columns[index]) if value is not None}
            columns[index] = [told.get(value) for value in columns[index]]
        return self._write(zip(*columns, strict=True))

    def finish(self) -> bytes:
        """Nothing: a CSV has no end."""
        return b""

    def _write(self, rows: Iterable[Sequence[Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        return text.getvalue().encode()


def plain(text: str) -> str:
    """Fit for a spreadsheet: never a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _bool(value: bool) -> str:
    return "true" if value else "false"


_CHANGES: Mapping[Kind, Callable[[Any], str]] = MappingProxyType(
    {Kind.TEXT: plain, Kind.TIME: _time, Kind.BOOL: _bool}
)
