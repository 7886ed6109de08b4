"""CSV after RFC 4180, in UTF-8. A text that a spreadsheet would take for a formula begins with an apostrophe."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
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
        return self._write([self._told(row) for row in rows])

    def finish(self) -> bytes:
        """Nothing: a CSV has no end."""
        return b""

    def _told(self, row: Row) -> list[Any]:
        cells = list(row)
        for index, change in self._changes:
            if cells[index] is not None:
                cells[index] = change(cells[index])
        return cells

    def _write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        return text.getvalue().encode()


def plain(text: str) -> str:
    """Fit for a spreadsheet: never a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _bool(value: bool) -> str:
    return "true" if value else "false"


_CHANGES: Mapping[Kind, Callable[[Any], str]] = MappingProxyType(
    {Kind.TEXT: plain, Kind.TIME: _time, Kind.BOOL: _bool}
)
