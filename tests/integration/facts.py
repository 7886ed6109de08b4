"""Facts in a database, written as ingest writes them: rows, the stream's counters and the marks together."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

KEY = bytes(32)


@dataclass
class Facts:
    """One device with one stream, and its sources and cameras. Nothing is in the database before `commit`."""

    dsn: str
    timezone: str = "UTC"
    device: UUID = field(default_factory=uuid4)
    stream_no: int = 0
    seq: int = 0
    junction: str = field(default_factory=lambda: f"junction {uuid4()}")

    def __post_init__(self) -> None:
        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "WITH j AS (INSERT INTO junctions (name, timezone) VALUES (%s, %s) RETURNING id)"
                " INSERT INTO edge_devices (id, junction_id, name, public_key) SELECT %s, id, 'pi', %s FROM j",
                (self.junction, self.timezone, self.device, KEY),
            )
            row = connection.execute(
                "INSERT INTO ingest_streams (device_id, stream, epoch) VALUES (%s, 'main', %s) RETURNING no",
                (self.device, uuid4()),
            ).fetchone()
            assert row is not None
            self.stream_no = row[0]
        self._open: psycopg.Connection[tuple[Any, ...]] | None = None
        self._stored = 0

    @property
    def connection(self) -> "psycopg.Connection[tuple[Any, ...]]":
        if self._open is None:
            self._open = psycopg.connect(self.dsn)
        return self._open

    def commit(self) -> None:
        """Makes all facts since the last commit visible at once, and lets go of the database."""
        self.connection.execute(
            "UPDATE ingest_streams SET last_seq = last_seq + %(n)s, stored = stored + %(n)s WHERE no = %(no)s",
            {"n": self._stored, "no": self.stream_no},
        )
        self.connection.commit()
        self.connection.close()
        self._open = None
        self._stored = 0

    def camera(self, name: str = "north") -> int:
        self.connection.execute(
            "INSERT INTO cameras (device_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (self.device, name)
        )
        return self._no("SELECT no FROM cameras WHERE device_id = %s AND name = %s", self.device, name)

    def zone(self, name: str, sensor: str = "north") -> None:
        self.camera(sensor)
        self.connection.execute(
            "INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id)"
            " SELECT device_id, name, %s, 'camera', 'zone', id FROM cameras WHERE device_id = %s AND name = %s"
            " ON CONFLICT DO NOTHING",
            (name, self.device, sensor),
        )

    def source(self, name: str = "stop line", via: str = "camera", sensor: str = "north") -> int:
        if via != "rfid":
            self.camera(sensor)
        self.connection.execute(
            "INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id)"
            " SELECT %(device)s, %(sensor)s, %(name)s, %(via)s, %(kind)s,"
            " (SELECT id FROM cameras WHERE device_id = %(device)s AND name = %(sensor)s AND %(via)s <> 'rfid')"
            " ON CONFLICT DO NOTHING",
            {
                "device": self.device,
                "sensor": sensor,
                "name": name,
                "via": via,
                "kind": "reader" if via == "rfid" else "line",
            },
        )
        return self._no(
            "SELECT no FROM counting_zones WHERE (device_id, sensor, name, via) = (%s, %s, %s, %s)",
            self.device,
            sensor,
            name,
            via,
        )

    def count(
        self,
        at: datetime,
        cls: str = "car",
        direction: str = "in",
        *,
        inferred: bool = False,
        source: str = "stop line",
        via: str = "camera",
    ) -> None:
        source_no = self.source(source, via)
        self.connection.execute(
            "INSERT INTO count_events (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)"
            " VALUES (%s, 0, %s, %s, %s, %s, %s, %s)",
            (at, self._next_seq(), self.stream_no, source_no, cls, direction, inferred),
        )
        self._mark("count", source_no, at)

    def frames(self, at: datetime, span_s: float, measured_s: float, camera: str = "north") -> None:
        camera_no = self.camera(camera)
        self.connection.execute(
            "INSERT INTO frame_metadata"
            " (at, at_error_ms, seq, stream_no, camera_no, span_ms, measured_ms, n, dropped, classes)"
            " VALUES (%s, 0, %s, %s, %s, %s, %s, 1, 0, '{}')",
            (at, self._next_seq(), self.stream_no, camera_no, round(span_s * 1000), round(measured_s * 1000)),
        )
        minute = (at - timedelta(seconds=span_s)).replace(second=0, microsecond=0)
        while minute < at:
            self._mark("coverage", camera_no, minute)
            minute += timedelta(minutes=1)

    def log(self, at: datetime) -> None:
        self.connection.execute(
            "INSERT INTO system_logs VALUES (%s, 0, %s, %s, 'info', 'tested', 'A line.', '{}')",
            (at, self._next_seq(), self.stream_no),
        )

    def _mark(self, kind: str, ref_no: int, at: datetime) -> None:
        self.connection.execute(
            "INSERT INTO rollup_marks (minute, ref_no, kind) VALUES (%s, %s, %s)",
            (at.replace(second=0, microsecond=0), ref_no, kind),
        )

    def _next_seq(self) -> int:
        self.seq += 1
        self._stored += 1
        return self.seq

    def _no(self, statement: str, *parameters: object) -> int:
        row = self.connection.execute(statement.encode(), parameters).fetchone()
        assert row is not None
        found: int = row[0]
        return found
