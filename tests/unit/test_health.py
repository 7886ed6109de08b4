"""A health record holds what is known, and None for what is not."""

from datetime import date

import msgspec

from common.clock import Stamp
from common.codes import Direction, Via
from common.records import Count, Health
from edge_agent.cameras.view import CameraView
from edge_agent.health import make_health
from edge_agent.machine import Vitals
from edge_agent.outbox import OutboxStats

VITALS = Vitals(10.0, 1.0, 2.0, 3.0, 44.5, 6.0, "under-voltage")
STATS = OutboxStats(durable=True, trouble=None, waiting=7, uncommitted=1, size_bytes=8, dropped=9)
STAMP = Stamp("boot", 10, 20, True)


def test_all_of_it_is_in_the_record_and_fits_the_wire() -> None:
    view = CameraView("north", state="ok", fps=9.5, latency_ms=30.0, dropped=4, restarts=1)
    health = make_health(VITALS, STATS, [view], STAMP, 12)
    assert msgspec.json.decode(msgspec.json.encode(health), type=Health) == health
    assert (health.temperature_c, health.throttled, health.rss_mb) == (44.5, "under-voltage", 3.0)
    assert (health.outbox_records, health.outbox_bytes, health.outbox_dropped) == (7, 8, 9)
    assert (health.clock_synced, health.clock_error_ms) == (True, 12)
    (sensor,) = health.sensors
    assert (sensor.sensor, sensor.state, sensor.fps, sensor.restarts) == ("north", "ok", 9.5, 1)


def test_a_camera_that_does_not_run_has_no_rate() -> None:
    view = CameraView("north", state="failed", fps=9.5, latency_ms=30.0)
    assert view.health().fps is None
    assert view.health().latency_ms is None


def test_tallies_begin_anew_every_day() -> None:
    view = CameraView("north")
    count = Count(1, 0, 0, "north", "stop", Via.CAMERA, "car", Direction.IN)
    truth = msgspec.structs.replace(count, via=Via.TRUTH)
    for record in (count, count, truth):
        view.add(record, date(2026, 11, 21))
    assert view.tallies["stop"].by_direction == {"in": 2}
    assert view.truths["stop"].total == 1
    view.add(msgspec.structs.replace(count, direction=Direction.OUT), date(2026, 11, 22))
    assert view.tallies["stop"].by_direction == {"out": 1}
    assert view.truths == {}
