"""Ingest over real HTTP into real databases: exactly once, with verdicts, and nobody pays for another's fault."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from collector.ingest.queue import Limits
from tests.integration.ingest_helpers import account, ask, count, counts, now_ms, post, rows, send, stored_seqs
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.device import FakeDevice


@pytest.fixture(scope="module")
def collector(each_module_dsn: str) -> Iterator[RunningCollector]:
    """One for all tests that look at what is their own device's alone."""
    with running_collector(each_module_dsn) as running:
        yield running


@pytest.fixture
def device(collector: RunningCollector) -> FakeDevice:
    return enrolled(collector.dsn)


@pytest.fixture
def alone(dsn: str) -> Iterator[RunningCollector]:
    """A collector of the test's own, on a database of its own."""
    with running_collector(dsn) as running:
        yield running


def enrolled(dsn: str) -> FakeDevice:
    made = FakeDevice()
    made.enrol(dsn)
    return made


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert abs(body["server_time"] - now_ms()) < 60_000
    assert {"type", "title", "status", "detail", "request_id"} <= body.keys()
    return body


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "identity"])
def test_a_batch_is_stored_once_however_often_it_comes(
    collector: RunningCollector, device: FakeDevice, encoding: str
) -> None:
    for _ in range(3):
        response = send(collector, device, counts(1, 20), encoding=encoding)
        assert response.status_code == 200, response.text
        ack = response.json()
        assert (ack["watermark"], ack["rejected"], ack["epoch"]) == (20, [], str(device.epoch))
        assert abs(ack["server_time"] - now_ms()) < 60_000
        assert ack["pace"]["max_records"] > 0
    assert stored_seqs(collector.dsn, device) == list(range(1, 21))
    assert account(collector.dsn, device) == (20, 20, 0, 0)


def test_a_resend_with_more_behind_it_adds_only_that(collector: RunningCollector, device: FakeDevice) -> None:
    send(collector, device, counts(1, 20))
    assert send(collector, device, counts(11, 20), 11).json()["watermark"] == 30
    assert send(collector, device, counts(5, 3), 5).json()["watermark"] == 30
    assert stored_seqs(collector.dsn, device) == list(range(1, 31))


def test_a_hole_is_told_and_nothing_stored(collector: RunningCollector, device: FakeDevice) -> None:
    assert assert_problem(send(collector, device, counts(5, 2), 5), 409, "sequence_gap")["expected_seq"] == 1
    send(collector, device, counts(1, 3))
    assert assert_problem(send(collector, device, counts(5, 2), 5), 409, "sequence_gap")["expected_seq"] == 4
    assert_problem(send(collector, device, [count(4), count(6)], 4), 400, "batch_malformed")
    assert stored_seqs(collector.dsn, device) == [1, 2, 3]


def test_streams_and_epochs_stand_for_themselves(collector: RunningCollector, device: FakeDevice) -> None:
    renewed = replace(device, epoch=uuid4())
    send(collector, device, counts(1, 3))
    send(collector, renewed, counts(1, 5))
    send(collector, device, counts(1, 2), stream="signals")
    assert_problem(send(collector, renewed, counts(9, 1), 9), 409, "sequence_gap")
    assert stored_seqs(collector.dsn, device) == [1, 2, 3]
    assert stored_seqs(collector.dsn, renewed) == [1, 2, 3, 4, 5]
    assert stored_seqs(collector.dsn, device, "signals") == [1, 2]
    assert ask(collector, renewed).json()["watermark"] == 5


def test_a_stream_can_be_asked_for(collector: RunningCollector, device: FakeDevice) -> None:
    assert ask(collector, device).json()["watermark"] == 0
    send(collector, device, counts(1, 3))
    answer = ask(collector, device).json()
    assert (answer["watermark"], answer["rejected"]) == (3, [])


def test_batches_of_one_stream_in_flight_at_once(collector: RunningCollector, device: FakeDevice) -> None:
    """Whatever order they arrive in: all are stored once, or told to come again."""
    with ThreadPoolExecutor(8) as pool:
        batches = [(seq, counts(seq, 5)) for seq in range(1, 101, 5)]
        for _ in range(20):
            answers = list(pool.map(lambda b: send(collector, device, b[1], b[0]).status_code, batches))
            assert set(answers) <= {200, 409}
            if set(answers) == {200}:
                break
        else:
            pytest.fail("some batches were never stored")
    assert stored_seqs(collector.dsn, device) == list(range(1, 101))
    assert account(collector.dsn, device) == (100, 100, 0, 0)


def test_gaps_stand_for_what_was_lost(alone: RunningCollector) -> None:
    device = enrolled(alone.dsn)
    lost = ["gap", 9, now_ms(), 0, "outbox_full", 5000, None, 3, {"counts": 7}, "disk"]
    unmeasured = ["gap", 11, now_ms(), 250, "camera_down", 60_000, "north"]
    assert send(alone, device, [count(1), count(2), lost, count(10), unmeasured]).json()["watermark"] == 11
    send(alone, device, [["gap", 14, now_ms(), 0, "outbox_full", 5, None, 8]], 8)
    assert account(alone.dsn, device) == (14, 4, 0, 10)
    assert stored_seqs(alone.dsn, device) == [1, 2, 10]
    query = "SELECT seq, from_seq, reason, sensor, dropped, at_error_ms FROM ingest_gaps ORDER BY seq"
    found = rows(alone.dsn, query)
    assert [tuple(row.values()) for row in found] == [
        (9, 3, "outbox_full", None, {"counts": 7}, 0),
        (11, None, "camera_down", "north", {}, 250),
        (14, 12, "outbox_full", None, {}, 0),
    ]


def test_a_gap_that_is_put_aside_still_tells_what_was_lost(alone: RunningCollector) -> None:
    """Else the account of the stream would hold losses that no gap explains."""
    device = enrolled(alone.dsn)
    broken = ["gap", 9, 5, 0, "outbox_full", 5, None, 2]
    assert [r["seq"] for r in send(alone, device, [count(1), broken, count(10)]).json()["rejected"]] == [9]
    assert account(alone.dsn, device) == (10, 2, 1, 7)
    (gap,) = rows(alone.dsn, "SELECT from_seq, seq FROM ingest_gaps")
    assert tuple(gap.values()) == (2, 8)


def test_bad_records_are_put_aside_with_their_text(alone: RunningCollector) -> None:
    device = enrolled(alone.dsn)
    records = [
        count(1),
        ["count", 2, "when?"],
        ["teleport", 3, now_ms(), 0],
        count(4, 0),
        count(5, 3_786_912_000_000),
        ["log", 6, now_ms(), 0, "info", "a", "\x00"],
        count(7),
    ]
    ack = send(alone, device, records).json()
    assert ack["watermark"] == 7
    verdicts = [(2, "malformed"), (3, "unknown_kind"), (4, "time_implausible"), (5, "time_implausible")]
    assert [(r["seq"], r["code"]) for r in ack["rejected"]] == [*verdicts, (6, "malformed")]
    assert stored_seqs(alone.dsn, device) == [1, 7]
    assert account(alone.dsn, device) == (7, 2, 5, 0)
    found = rows(alone.dsn, "SELECT seq, code, raw FROM ingest_rejects ORDER BY seq")
    assert [(row["seq"], row["code"]) for row in found] == [(r["seq"], r["code"]) for r in ack["rejected"]]
    assert found[1]["raw"] == f'["teleport",3,{records[2][2]},0]'
    assert "\\u0000" in found[4]["raw"]


def refuse_trams(dsn: str) -> None:
    """Something that only the database knows."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE count_events ADD CONSTRAINT no_trams CHECK (cls <> 'tram')")


def test_what_only_the_database_refuses_costs_the_others_nothing(dsn: str) -> None:
    """Many devices in one group commit; a few have records in them that COPY fails on."""
    refuse_trams(dsn)
    devices = [FakeDevice() for _ in range(24)]
    for device in devices:
        device.enrol(dsn)

    def deliver(to: RunningCollector, place: int) -> httpx.Response:
        records = counts(1, 30)
        if place % 5 == 0:
            records[7][7] = records[29][7] = "tram"
        return send(to, devices[place], records)

    with running_collector(dsn) as running, ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda place: deliver(running, place), range(24)))
    for place, answer in enumerate(answers):
        bad = [8, 30] if place % 5 == 0 else []
        assert answer.status_code == 200, answer.text
        assert [r["seq"] for r in answer.json()["rejected"]] == bad
        assert {r["code"] for r in answer.json()["rejected"]} <= {"not_storable"}
        assert stored_seqs(dsn, devices[place]) == [seq for seq in range(1, 31) if seq not in bad]
        assert account(dsn, devices[place]) == (30, 30 - len(bad), len(bad), 0)
    (reject, *_) = rows(dsn, "SELECT * FROM ingest_rejects")
    assert "no_trams" in reject["detail"]
    assert "tram" in reject["raw"]


def test_what_a_record_says_and_cannot_be_kept_costs_no_record(dsn: str) -> None:
    """Neither the batch's own, nor those of others in the same group commit."""
    devices = [FakeDevice() for _ in range(12)]
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE fault_history ADD CONSTRAINT no_dragons CHECK (why <> 'a dragon')")
        for device in devices:
            made = connection.execute(
                "INSERT INTO junctions (name) VALUES (%s) RETURNING id", (str(device.id),)
            ).fetchone()
            assert made is not None
            connection.commit()
            device.enrol(dsn, made[0])

    def deliver(to: RunningCollector, place: int) -> httpx.Response:
        at_ms = now_ms() - 60_000
        said = ["a dragon" if place == 5 else "a squirrel", "a lamp"]
        faults = [
            ["log", 3 + i, at_ms + i * 30_000, 0, "error", "lights_fault", why] for i, why in enumerate(said)
        ]
        return send(to, devices[place], [*counts(1, 2), *faults])

    with running_collector(dsn) as running, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda place: deliver(running, place), range(12)))
    for device, answer in zip(devices, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert answer.json()["rejected"] == []
        assert account(dsn, device) == (4, 4, 0, 0)
    kept = rows(dsn, "SELECT why, count(*) AS n FROM fault_history GROUP BY why ORDER BY why")
    assert [(row["why"], row["n"]) for row in kept] == [("a lamp", 12), ("a squirrel", 11)]


def test_a_batch_of_nothing_but_refused_records(alone: RunningCollector) -> None:
    device = enrolled(alone.dsn)
    refuse_trams(alone.dsn)
    assert len(send(alone, device, counts(1, 9, cls="tram")).json()["rejected"]) == 9
    assert account(alone.dsn, device) == (9, 0, 9, 0)
    assert send(alone, device, counts(10, 1), 10).json()["watermark"] == 10


def test_a_device_cannot_make_names_without_end(
    collector: RunningCollector, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.ingest.names.MAX_NAMES_PER_DEVICE", 3)
    records = [count(seq, source=f"line {seq}") for seq in range(1, 7)]
    ack = send(collector, device, records).json()
    assert [(r["seq"], r["code"]) for r in ack["rejected"]] == [(seq, "not_storable") for seq in (4, 5, 6)]
    assert send(collector, device, [count(7, source="line 2")], 7).json()["rejected"] == []
    assert account(collector.dsn, device) == (7, 4, 3, 0)


def test_a_device_cannot_begin_streams_without_end(
    collector: RunningCollector, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.ingest.store.MAX_STREAMS_PER_DEVICE", 2)
    epochs = [uuid4() for _ in range(3)]
    answers = [send(collector, device, counts(1, 1), epoch=epoch) for epoch in epochs]
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert_problem(answers[2], 403, "streams_exhausted")
    assert send(collector, device, counts(2, 1), 2, epoch=epochs[0]).status_code == 200, "those that it has go on"
    began = "SELECT count(*) AS n FROM ingest_streams WHERE device_id = %s"
    assert rows(collector.dsn, began, device.id) == [{"n": 2}]


def test_who_may_not_send_is_told_and_nothing_stored(collector: RunningCollector, device: FakeDevice) -> None:
    body = device.batch(counts(1, 2), first_seq=1)
    stranger = FakeDevice()
    assert_problem(post(collector, body, None), 401, "token_missing")
    assert_problem(post(collector, body, "garbage"), 401, "token_invalid")
    assert_problem(post(collector, body, replace(stranger, id=device.id).token()), 401, "token_invalid")
    assert_problem(post(collector, body, device.token(5.0)), 401, "token_time")
    assert_problem(send(collector, stranger, counts(1, 2)), 403, "device_unknown")
    stranger.enrol(collector.dsn)
    assert_problem(post(collector, body, stranger.token()), 403, "device_mismatch")
    assert account(collector.dsn, device) == (0, 0, 0, 0)
    assert post(collector, body, device.token()).status_code == 200


def test_a_revoked_device_is_stopped_at_once_even_with_a_token_that_still_holds(
    collector: RunningCollector, device: FakeDevice
) -> None:
    token = device.token()
    assert post(collector, device.batch(counts(1, 2), first_seq=1), token).status_code == 200
    change = "UPDATE edge_devices SET status = 'revoked', revoked_at = now() WHERE id = %s RETURNING id"
    rows(collector.dsn, change, device.id)
    assert_problem(post(collector, device.batch(counts(3, 2), first_seq=3), token), 403, "device_revoked")
    assert_problem(ask(collector, device), 403, "device_revoked")
    back = "UPDATE edge_devices SET status = 'active', revoked_at = NULL WHERE id = %s RETURNING id"
    rows(collector.dsn, back, device.id)
    assert post(collector, device.batch(counts(3, 2), first_seq=3), token).status_code == 200
    rows(
        collector.dsn,
        "UPDATE edge_devices SET public_key = %s WHERE id = %s RETURNING id",
        FakeDevice().public_key,
        device.id,
    )
    assert_problem(post(collector, device.batch(counts(5, 2), first_seq=5), token), 401, "token_invalid")
    assert stored_seqs(collector.dsn, device) == [1, 2, 3, 4]


def test_bad_bodies_are_told_and_nothing_stored(collector: RunningCollector, device: FakeDevice) -> None:
    token = device.token()
    bomb = bytes(64 * 1024 * 1024)
    assert_problem(post(collector, b"garbage", token), 400, "batch_malformed")
    assert_problem(post(collector, b"", token), 400, "batch_malformed")
    assert_problem(post(collector, b"{}", token, "br"), 400, "encoding_unknown")
    assert_problem(post(collector, bomb, token, "zstd"), 413, "batch_too_large")
    assert_problem(post(collector, bomb, token, "gzip"), 413, "batch_too_large")
    assert_problem(post(collector, bytes(9 * 1024 * 1024), token), 413, "batch_too_large")
    assert_problem(send(collector, device, [1] * 5001), 413, "batch_too_large")
    assert_problem(send(collector, device, counts(1, 1), v=2), 400, "version_unknown")
    assert_problem(send(collector, device, counts(1, 1), stream="a\0b"), 400, "batch_malformed")
    halved = device.batch(counts(1, 1), first_seq=1).replace(b'"agent"', b'"\\ud800"')
    assert_problem(post(collector, halved, token), 400, "batch_malformed")
    assert_problem(ask(collector, device, "a%00b"), 400, "parameter_invalid")
    assert account(collector.dsn, device) == (0, 0, 0, 0)


def test_a_database_that_stores_nothing_is_no_good_health(alone: RunningCollector) -> None:
    device = enrolled(alone.dsn)

    def health() -> tuple[int, str]:
        answer = httpx.get(alone.url + "/health")
        return answer.status_code, answer.json()["store"]

    with psycopg.connect(alone.dsn) as connection:
        connection.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql"
            " AS $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END $$;"
            " CREATE TRIGGER full_disk BEFORE INSERT ON count_events EXECUTE FUNCTION full_disk()"
        )
    assert_problem(send(alone, device, counts(1, 2)), 503, "store_unavailable")
    assert health() == (503, "refuses")
    with psycopg.connect(alone.dsn) as connection:
        connection.execute("DROP TRIGGER full_disk ON count_events")
    assert send(alone, device, counts(1, 2)).status_code == 200
    assert health() == (200, "ok")


def test_a_full_queue_asks_to_wait(dsn: str) -> None:
    device = enrolled(dsn)
    with running_collector(dsn, limits=Limits(queue_bytes=300)) as collector:
        response = send(collector, device, counts(1, 20))
        assert_problem(response, 429, "overloaded")
        assert 1 <= int(response.headers["retry-after"]) <= 10
    assert account(dsn, device) == (0, 0, 0, 0)


def test_every_kind_is_stored_as_it_was_sent(alone: RunningCollector) -> None:
    device = enrolled(alone.dsn)
    at = now_ms() - 5000
    lane_cycles = [["n", None, 30, 3, 57, 0.5, ["E1", "E2"]], ["s", 4, 1, 2, 3, None]]
    machine = ["1.0", 99.5, 12.5, None, 55.5, -4.5, 1000]
    sent = [
        ["count", 1, at, 40, "gate", "reader", "rfid", "bus", "none", None, "E200", True, 12.5],
        ["occupancy", 2, at, 0, "north", "bay", 60_000, 1.5, 3, 2, 4, 5, 20.5, 18.5, 1, 2],
        ["frames", 3, at, 0, "north", 10_000, 9_900, 95, 2, {"car": [0, 1.25, 4]}, 80.5, 99.5, 640, 480],
        ["detections", 4, at, 0, "north", [["car", 0.75, 1.5, 2, 3, 4, "7"], ["bus", 1, 0, 0, 1, 1]]],
        ["cycle", 5, at, 0, "x1", 90.5, "auto", "webster", lane_cycles, "p1"],
        ["signal_event", 6, at, 0, "x1", 82, 7],
        ["health", 7, at, 0, *machine, 7, 4096, 2, True, 3, [["north", "ok", 9.5]], None],
        ["stream_quality", 8, at, 0, "north", "frozen", 5000, None, 2, 640, 480, "same picture"],
        ["log", 9, at, 0, "warning", "camera", "it is dark", {"lux": 0.5, "on": None}],
        ["command_result", 10, at, 0, "c1", "done", "ok"],
    ]
    ack = send(alone, device, sent).json()
    assert (ack["watermark"], ack["rejected"]) == (10, [])
    assert account(alone.dsn, device) == (10, 10, 0, 0)

    def stored(table: str, columns: str) -> list[tuple[Any, ...]]:
        head = "(extract(epoch FROM at) * 1000)::bigint = %s AS in_time"
        found = rows(alone.dsn, f"SELECT {columns}, {head} FROM {table} ORDER BY seq", at)
        assert all(row.pop("in_time") for row in found)
        return [tuple(row.values()) for row in found]

    event = "at_error_ms, seq, cls, direction, confidence, track, inferred, speed_mps"
    assert stored("count_events", event) == [(40, 1, "bus", "none", None, "E200", True, 12.5)]
    occupancy = "span_ms, n_mean, n_max, n_end, entries, exits, dwell_mean_s, stood_mean_s, n_standing, capacity"
    assert stored("zone_occupancy", occupancy) == [(60_000, 1.5, 3, 2, 4, 5, 20.5, 18.5, 1, 2)]
    frames = "span_ms, measured_ms, n, dropped, classes, latency_p50_ms, latency_p95_ms, width_px, height_px"
    assert stored("frame_metadata", frames) == [
        (10_000, 9_900, 95, 2, {"car": [0, 1.25, 4]}, 80.5, 99.5, 640, 480)
    ]
    boxes = [["car", 0.75, 1.5, 2, 3, 4, "7"], ["bus", 1, 0, 0, 1, 1, None]]
    assert stored("detections", "boxes") == [(boxes,)]
    assert stored("traffic_cycles", "junction, length_s, mode, algorithm, plan") == [
        ("x1", 90.5, "auto", "webster", "p1")
    ]
    lanes = "lane, vehicles, green_s, yellow_s, red_s, saturation, epc_ids"
    assert sorted(stored("lane_cycle_data", lanes)) == [
        ("n", None, 30, 3, 57, 0.5, ["E1", "E2"]),
        ("s", 4, 1, 2, 3, None, []),
    ]
    assert stored("signal_events", "junction, code, parameter") == [("x1", 82, 7)]
    health = "version, uptime_s, cpu_percent, memory_percent, rss_mb, temperature_c, disk_free_mb, outbox_records"
    assert stored("device_health", health) == [("1.0", 99.5, 12.5, None, 55.5, -4.5, 1000, 7)]
    rest = "outbox_bytes, outbox_dropped, clock_synced, clock_error_ms, sensors, throttled"
    assert stored("device_health", rest) == [(4096, 2, True, 3, [["north", "ok", 9.5, 0, None, 0]], None)]
    quality = "sensor, state, span_ms, fps, reconnects, width_px, height_px, detail"
    assert stored("stream_quality_metrics", quality) == [
        ("north", "frozen", 5000, None, 2, 640, 480, "same picture")
    ]
    assert stored("system_logs", "level, action, message, context") == [
        ("warning", "camera", "it is dark", {"lux": 0.5, "on": None})
    ]
    assert stored("command_results", "command, status, detail") == [("c1", "done", "ok")]


def test_sources_and_cameras_come_into_being_with_their_first_record(alone: RunningCollector) -> None:
    device = enrolled(alone.dsn)
    at = now_ms()
    records = [
        count(1),
        count(2, source="bay", direction="none"),
        count(3, sensor="gate", source="reader", via="rfid", direction="none"),
        count(4, via="truth"),
        ["occupancy", 5, at, 0, "south", "yard", 1000, 0, 0, 0],
        ["frames", 6, at, 0, "west", 1000, 1000, 10, 0],
        count(7),
        count(8, source="left", via="turn", direction="none"),
        count(9, source="line: no exit seen", via="unpaired", direction="none"),
    ]
    assert send(alone, device, records).json()["rejected"] == []
    query = (
        "SELECT z.sensor, z.name, z.via, z.kind, c.name AS camera FROM counting_zones z"
        " LEFT JOIN cameras c ON c.id = z.camera_id WHERE z.device_id = %s ORDER BY z.no"
    )
    found = rows(alone.dsn, query, device.id)
    assert sorted((*tuple(row.values())[:4], row["camera"] or "") for row in found) == [
        ("gate", "reader", "rfid", "reader", "gate"),
        ("north", "bay", "camera", "zone", "north"),
        ("north", "left", "turn", "turn", "north"),
        ("north", "line", "camera", "line", "north"),
        ("north", "line", "truth", "line", "north"),
        ("north", "line: no exit seen", "unpaired", "unpaired", "north"),
        ("south", "yard", "camera", "zone", "south"),
    ]
    cameras = rows(alone.dsn, "SELECT name FROM cameras")
    assert {row["name"] for row in cameras} == {"gate", "north", "south", "west"}


def test_rollup_marks_are_written_with_the_rows(alone: RunningCollector) -> None:
    """Every minute that rows touch reaches the rollups, without anyone asking."""
    device = enrolled(alone.dsn)
    start = now_ms() // 60_000 * 60_000 - 600_000
    records = [count(1, start + 1), count(2, start + 59_999), count(3, start + 60_000)]
    records.append(["frames", 4, start + 90_000, 0, "north", 60_000, 60_000, 600, 0])
    send(alone, device, records)
    for _ in range(200):
        counted = rows(alone.dsn, "SELECT n FROM count_rollups WHERE step_s = 60 ORDER BY bucket")
        covered = rows(alone.dsn, "SELECT measured_ms FROM coverage_rollups WHERE step_s = 60 ORDER BY bucket")
        if len(counted) == 2 and len(covered) == 2:
            break
        rows(alone.dsn, "SELECT pg_sleep(0.05)")
    assert [row["n"] for row in counted] == [2, 1]
    assert [row["measured_ms"] for row in covered] == [30_000, 30_000]


def test_two_collectors_on_one_database_never_store_twice(dsn: str) -> None:
    """A load balancer may lead a resend to another collector while the first is still at work."""
    device = enrolled(dsn)
    with running_collector(dsn) as one, running_collector(dsn) as other, ThreadPoolExecutor(16) as pool:
        for first_seq in range(1, 400, 20):
            batch = counts(first_seq, 20)
            targets = [one, other] * 4
            answers = list(pool.map(lambda to, b=batch, f=first_seq: send(to, device, b, f), targets))
            assert {a.status_code for a in answers} <= {200, 503}, [a.text for a in answers]
            assert 200 in {a.status_code for a in answers}
    assert stored_seqs(dsn, device) == list(range(1, 401))
    assert account(dsn, device) == (400, 400, 0, 0)
