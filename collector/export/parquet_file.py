"""Parquet, a row group at a time. Only here pyarrow is loaded, which takes a moment and some memory."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from collector.export.tables import Column, Kind

_GROUP_ROWS = 50_000
_TYPES = {
    Kind.TEXT: pa.string(),
    Kind.INT: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.BOOL: pa.bool_(),
    Kind.TIME: pa.timestamp("ms", tz="UTC"),
}


class _Sink:
    """A file that keeps what was written until it is taken, and knows how much that was in all."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size_bytes = 0

    def write(self, piece: Any) -> int:
        data = bytes(piece)
        self._pieces.append(data)
        self._size_bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size_bytes

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


class ParquetFile:
    """Rows to bytes. `compression` of the pages within: `zstd`, `gzip` or `none`. `about` goes into the footer."""

    def __init__(self, columns: Sequence[Column], compression: str, about: dict[str, str]) -> None:
        fields = [pa.field(column.name, _TYPES[column.kind]) for column in columns]
        self._schema = pa.schema(fields, metadata=about)
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"), self._schema, compression=compression, version="2.6"
        )
        self._batches: list[Any] = []
        self._n_rows = 0

    def start(self) -> bytes:
        """What comes first."""
        return self._sink.take()

    def add(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """A row group, once there are enough rows for one; until then nothing."""
        columns = zip(*rows, strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._batches.append(pa.record_batch(arrays, schema=self._schema))
        self._n_rows += len(rows)
        if self._n_rows >= _GROUP_ROWS:
            self._write_group()
        return self._sink.take()

    def finish(self) -> bytes:
        """What is left, and the footer."""
        if self._batches:
            self._write_group()
        self._writer.close()
        return self._sink.take()

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._batches), row_group_size=self._n_rows)
        self._batches, self._n_rows = [], 0
