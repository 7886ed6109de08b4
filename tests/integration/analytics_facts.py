"""What lights tell, beside counts, written as ingest writes it: cycles, the log, zones, orders, health."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from common.junction import Junction
from tests.integration.facts import Facts


@dataclass(frozen=True)
class LaneFact:
    """A lane in a cycle. `vehicles` None: not measured."""

    lane: str
    green_s: float
    yellow_s: float
    red_s: float
    vehicles: int | None = None
    saturation: float | None = None


class LightsFacts(Facts):
    """Facts of a junction with lights."""

    @property
    def junction_id(self) -> UUID:
        row = self.connection.execute("SELECT id FROM junctions WHERE name = %s", (self.junction,)).fetchone()
        assert row is not None
        found: UUID = row[0]
        return found

    def describe(self, junction: Junction) -> None:
        lights = {"lights": {"at_ms": 1, "description": msgspec.json.encode(junction).decode()}}
        self.connection.execute(
            "UPDATE junctions SET metadata = metadata || %s WHERE name = %s", (json.dumps(lights), self.junction)
        )

    def crossings(self, crossings: Sequence[tuple[datetime, str, str]], source: str = "stop") -> None:
        """Many counts at once: when, which class, and over the line of which sensor."""
        numbers = {sensor: self.source(source, sensor=sensor) for sensor in {sensor for _, _, sensor in crossings}}
        rows = [(at, self._next_seq(), numbers[sensor], cls) for at, cls, sensor in crossings]
        with self.connection.cursor() as cursor:
            columns = "at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred"
            with cursor.copy(f"COPY count_events ({columns}) FROM STDIN".encode()) as copy:
                for at, seq, number, cls in rows:
                    copy.write_row((at, 0, seq, self.stream_no, number, cls, "in", False))
            with cursor.copy("COPY rollup_marks (minute, ref_no, kind) FROM STDIN") as copy:
                for at, _, number, _ in rows:
                    copy.write_row((at.replace(second=0, microsecond=0), number, "count"))

    def watched(self, blocks: Sequence[tuple[datetime, float, float, str]]) -> None:
        """Many blocks of frames at once: their end, span and measured time in s, the camera."""
        numbers = {camera: self.camera(camera) for camera in {camera for _, _, _, camera in blocks}}
        rows = [(at, self._next_seq(), numbers[camera], span, measured) for at, span, measured, camera in blocks]
        with self.connection.cursor() as cursor:
            columns = "at, at_error_ms, seq, stream_no, camera_no, span_ms, measured_ms, n, dropped, classes"
            with cursor.copy(f"COPY frame_metadata ({columns}) FROM STDIN".encode()) as copy:
                for at, seq, number, span_s, measured_s in rows:
                    spans_ms = round(span_s * 1000), round(measured_s * 1000)
                    copy.write_row((at, 0, seq, self.stream_no, number, *spans_ms, 1, 0, "{}"))
            with cursor.copy("COPY rollup_marks (minute, ref_no, kind) FROM STDIN") as copy:
                for at, _, number, span_s, _ in rows:
                    minute = (at - timedelta(seconds=span_s)).replace(second=0, microsecond=0)
                    while minute < at:
                        copy.write_row((minute, number, "coverage"))
                        minute += timedelta(minutes=1)

    def cycle(self, at: datetime, lanes: Sequence[LaneFact], **changed: Any) -> None:
        """One that ends at `at`; its length is the first lane's, or `length_s`."""
        first = lanes[0] if lanes else LaneFact("", 0, 0, 0)
        told: dict[str, Any] = {"length_s": first.green_s + first.yellow_s + first.red_s, "plan": "day"}
        told |= {"mode": "automatic", "algorithm": "adaptive"} | changed
        seq = self._next_seq()
        self.connection.execute(
            "INSERT INTO traffic_cycles VALUES (%s, 0, %s, %s, %s, 'x', %s, %s, %s)",
            (at, seq, self.stream_no, told["length_s"], told["mode"], told["algorithm"], told["plan"]),
        )
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO lane_cycle_data VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, '{}')",
                [
                    (at, seq, self.stream_no, x.vehicles, x.green_s, x.yellow_s, x.red_s, x.saturation, x.lane)
                    for x in lanes
                ],
            )

    def events(self, zero: datetime, rows: Sequence[tuple[float, int, int]]) -> None:
        """The log: seconds after `zero`, code, parameter; in the order in which they were written."""
        with (
            self.connection.cursor() as cursor,
            cursor.copy(
                "COPY signal_events (at, at_error_ms, seq, stream_no, code, parameter, junction) FROM STDIN"
            ) as copy,
        ):
            for at_s, code, parameter in rows:
                at = zero + timedelta(milliseconds=round(at_s * 1000))
                copy.write_row((at, 0, self._next_seq(), self.stream_no, code, parameter, "x"))

    def occupancy(self, at: datetime, zone: tuple[str, str], span_s: float, n_mean: float, exits: int) -> None:
        sensor, name = zone
        self.zone(name, sensor)
        self.connection.execute(
            "INSERT INTO zone_occupancy (at, at_error_ms, seq, stream_no, source_no, span_ms, n_mean, n_max,"
            " n_end, entries, exits) VALUES (%s, 0, %s, %s, %s, %s, %s, 9, 0, %s, %s)",
            (
                at,
                self._next_seq(),
                self.stream_no,
                self._zone_no(zone),
                round(span_s * 1000),
                n_mean,
                exits,
                exits,
            ),
        )

    def override(
        self,
        began: datetime | None,
        ended: datetime | None,
        *,
        user: str = "alice",
        mode: str = "flash",
        ordered: datetime | None = None,
    ) -> UUID:
        order = uuid4()
        self.connection.execute(
            "INSERT INTO manual_override_history"
            " (id, junction_id, user_name, mode, ordered_at, began_at, ended_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (order, self.junction_id, user, mode, ordered or began, began, ended),
        )
        return order

    def health(self, at: datetime, uptime_s: float, **told: Any) -> None:
        row: Mapping[str, Any] = {"version": "1", "clock_synced": True, "sensors": "[]"} | told
        self.connection.execute(
            "INSERT INTO device_health (at, at_error_ms, seq, stream_no, outbox_records, outbox_bytes,"
            " outbox_dropped, uptime_s, clock_synced, version, sensors, cpu_percent)"
            " VALUES (%s, 0, %s, %s, 0, 0, 0, %s, %s, %s, %s, %s)",
            (
                at,
                self._next_seq(),
                self.stream_no,
                uptime_s,
                row["clock_synced"],
                row["version"],
                row["sensors"],
                row.get("cpu_percent"),
            ),
        )

    def agent_down(self, at: datetime, duration_s: float) -> None:
        self.connection.execute(
            "INSERT INTO ingest_gaps (at, at_error_ms, seq, stream_no, reason, duration_ms)"
            " VALUES (%s, 0, %s, %s, 'agent_down', %s)",
            (at, self._next_seq(), self.stream_no, round(duration_s * 1000)),
        )

    def heard(self, at: datetime) -> None:
        self.connection.execute(
            "UPDATE ingest_streams SET last_received_at = %s WHERE no = %s", (at, self.stream_no)
        )

    def _zone_no(self, zone: tuple[str, str]) -> int:
        return self._no(
            "SELECT no FROM counting_zones WHERE (device_id, sensor, name, via) = (%s, %s, %s, 'camera')",
            self.device,
            *zone,
        )
