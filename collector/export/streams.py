"""An export as a stream of bytes, whatever the form, and what it is called."""

import asyncio
import re
import unicodedata
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

import zstandard

from collector.export.csv_file import CsvFile
from collector.export.reading import Junction, Range, Reader
from collector.export.tables import What, columns_of

_T = TypeVar("_T")


class Form(StrEnum):
    """What kind of file."""

    CSV = "csv"
    PARQUET = "parquet"


class Compression(StrEnum):
    """Of a CSV the whole file, of Parquet the pages within."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


CSV_TYPE = "text/csv"
PARQUET_TYPE = "application/vnd.apache.parquet"
_PACKED: Mapping[Compression, tuple[str, str]] = MappingProxyType(
    {Compression.GZIP: ("application/gzip", ".gz"), Compression.ZSTD: ("application/zstd", ".zst")}
)


class RowFile(Protocol):
    """Makes bytes of rows. Used by one at a time, in any thread."""

    def start(self) -> bytes:
        """What comes first."""

    def add(self, rows: Sequence[tuple[Any, ...]]) -> bytes:
        """The rows; what there is of them so far."""

    def finish(self) -> bytes:
        """What is left."""


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes:
        """What there is so far."""

    def flush(self) -> bytes:
        """What is left."""


class _Packed:
    """A file within a compressed one."""

    def __init__(self, inner: RowFile, packer: _Packer) -> None:
        self._inner, self._packer = inner, packer

    def start(self) -> bytes:
        return self._packer.compress(self._inner.start())

    def add(self, rows: Sequence[tuple[Any, ...]]) -> bytes:
        return self._packer.compress(self._inner.add(rows))

    def finish(self) -> bytes:
        return self._packer.compress(self._inner.finish()) + self._packer.flush()


@dataclass(frozen=True)
class Export:
    """One export, ready to run once. `user`: for whom it reads; None: whoever sees all."""

    reader: Reader
    what: What
    junctions: Sequence[Junction]
    asked: Range
    form: Form = Form.CSV
    compression: Compression | None = None
    user: UUID | None = None

    @property
    def media_type(self) -> str:
        if self.form is Form.PARQUET:
            return PARQUET_TYPE
        return _PACKED.get(self._packing, (CSV_TYPE, ""))[0]

    @property
    def file_name(self) -> str:
        """As `stopline_Market-Square_counts_20260504T0000Z_20260505T0000Z.csv.gz`."""
        whose = f"{len(self.junctions)}-junctions" if len(self.junctions) != 1 else self.junctions[0].name
        place = re.sub(r"[^\w.-]+", "-", whose).strip("-.") or "junction"
        start, end = (f"{at:%Y%m%dT%H%MZ}" for at in (self.asked.start, self.asked.end))
        packed = _PACKED.get(self._packing, (CSV_TYPE, ""))[1]
        return f"stopline_{place}_{self.what}_{start}_{end}.{self.form}{packed}"

    @property
    def _packing(self) -> Compression:
        """Of the file as a whole."""
        return self.compression or Compression.NONE if self.form is Form.CSV else Compression.NONE

    @property
    def disposition(self) -> str:
        """The header `Content-Disposition`: the name in ASCII, and as it is."""
        decomposed = unicodedata.normalize("NFKD", self.file_name)
        simple = decomposed.encode("ascii", "ignore").decode()
        return f"attachment; filename=\"{simple}\"; filename*=UTF-8''{quote(self.file_name)}"

    async def stream(self) -> AsyncIterator[bytes]:
        """The file, piece by piece. It may be given up at any piece: then the query that runs is ended."""
        file = await asyncio.to_thread(self._open)
        yield await asyncio.to_thread(file.start)
        for junction in self.junctions:
            pages = self.reader.pages(self.what, junction, self.asked, self.user)
            while (page := await _next(pages)) is not None:
                # Beside the event loop, which has batches to take in.
                if piece := await asyncio.to_thread(file.add, page):
                    yield piece
        yield await asyncio.to_thread(file.finish)

    def _open(self) -> RowFile:
        columns = columns_of(self.what)
        if self.form is Form.PARQUET:
            from collector.export.parquet_file import ParquetFile

            about = {
                "stopline.what": str(self.what),
                "stopline.from": self.asked.start.isoformat(),
                "stopline.to": self.asked.end.isoformat(),
            }
            return ParquetFile(columns, self.compression or Compression.ZSTD, about)
        packer = _PACKERS.get(self._packing)
        return _Packed(CsvFile(columns), packer()) if packer else CsvFile(columns)


async def _next(pages: AsyncIterator[_T]) -> _T | None:
    """The next page, fetched by a task of its own; None: there is none.

    Whoever is cancelled here is so again at each `await` until it ends (anyio), and could not tell the database
    to stop. The task is cancelled once, and does.
    """

    async def fetch() -> _T | None:
        return await anext(pages, None)

    task = asyncio.create_task(fetch())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        task.cancel()
        raise


_PACKERS: Mapping[Compression, Callable[[], _Packer]] = MappingProxyType(
    {
        Compression.GZIP: lambda: zlib.compressobj(6, wbits=31),
        Compression.ZSTD: lambda: zstandard.ZstdCompressor(level=3).compressobj(),
    }
)
