"""Export over real HTTP, and by the command line: both kinds of file, of any size, and nobody sees too much."""

import asyncio
import csv
import gzip
import io
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
import zstandard

from collector.counting.queries import Bucket
from collector.db import Settings, make_pool
from collector.export import reading
from collector.export.csv_file import CsvFile, plain
from collector.export.reading import Range, Reader
from collector.export.routes import MAX_OF_ONE
from collector.export.streams import Export
from collector.export.tables import Column, Kind, What, columns_of
from collector.identity.users import Role
from common.codes import Direction, Via
from common.records import Count, Frames, Health, Occupancy, SignalEvent
from tests.integration.facts import Facts
from tests.integration.ingest_helpers import now_ms
from tests.integration.test_collector_cli import run
from tests.integration.test_users import bearer, code, execute, make_user
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.lights import Pi, cycle

NIGHT = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
"""In Berlin the clocks go back at 01:00 UTC."""
SPAN = {"from": "2026-10-25T00:00:00Z", "to": "2026-10-25T04:00:00Z"}


@pytest.fixture
def collector(dsn: str) -> Iterator[RunningCollector]:
    with running_collector(dsn) as running:
        yield running


@pytest.fixture
def on_plain(plain_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(plain_dsn) as running:
        yield running


def ask(collector: RunningCollector, path: str, headers: Any = None, **query: Any) -> httpx.Response:
    answer = httpx.get(f"{collector.url}{path}", params=query, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def table(text: str) -> list[dict[str, str]]:
    assert "\r\n" in text
    assert "\n" not in text.replace("\r\n", "")
    return list(csv.DictReader(io.StringIO(text)))


def test_each_kind_of_rows_comes_as_csv_and_parquet(collector: RunningCollector, dsn: str) -> None:
    pi, now = Pi(dsn, collector), now_ms()
    execute(dsn, "UPDATE junctions SET name = '=Süd; \"A\"', timezone = 'Asia/Kolkata'")
    told = Count(1, now - 9_000, 5, "-north", "@line", Via.CAMERA, "=car", Direction.IN, 0.5, "+1", False, 13.9)
    pi.send(
        Frames(1, now - 1_000, 0, "-north", 60_000, 30_000, 300, 0),
        told,
        Count(1, now - 8_000, 5, "gate", "reader", Via.RFID, "car", Direction.NONE, None, "E280SECRET"),
        Occupancy(1, now - 7_000, 0, "-north", "box", 5_000, 2.0, 4, 3),
        cycle(now - 6_000),
        SignalEvent(1, now - 5_000, 0, "x", 1, 2),
        Health(1, now - 4_000, 0, "1.0", 60.0, None, 40.0, None, -3.5, None, 0, 0, 0, True),
    )
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO manual_override_history (junction_id, user_name, mode, settings, ordered_at, began_at,"
            " ended_at) VALUES (%s, '=cmd', 'fixed', '{\"cycle_s\": 90}', now() - interval '3 s',"
            " now() - interval '2 s', now())",
            (pi.junction,),
        )
    path = f"/api/analytics/junction/{pi.junction}/export"
    found: dict[What, list[dict[str, str]]] = {}
    for what in What:
        text = ask(collector, path, what=what, step="1m").text
        assert "SECRET" not in text
        found[what] = table(text)
        assert list(found[what][0]) == [column.name for column in columns_of(what)]
        parquet = pq.read_table(io.BytesIO(ask(collector, path, what=what, step="1m", format="parquet").content))
        assert parquet.column_names == list(found[what][0])
        if what is not What.ROLLUPS:
            assert parquet.num_rows == len(found[what])
    count, passage = found[What.COUNTS]
    assert (count["junction"], count["sensor"], count["source"]) == ('\'=Süd; "A"', "'-north", "'@line")
    assert (count["class"], count["track"], count["inferred"], passage["track"]) == ("'=car", "'+1", "false", "")
    assert (count["confidence"], float(count["speed_mps"]), passage["speed_mps"]) == ("0.5", 13.9, "")
    at = datetime.fromisoformat(count["at_utc"])
    assert round(at.timestamp() * 1000) == told.at
    assert count["at_utc"].endswith("Z")
    assert count["at_local"].endswith("+05:30")
    assert datetime.fromisoformat(count["at_local"]) == at
    assert (count["range_measured_s"], passage["range_measured_s"]) == ("30.0", "0.0"), "a reader proves nothing"
    lanes = {lane["lane"]: lane for lane in found[What.LANES]}
    assert [lane["vehicles"] for lane in found[What.LANES]].count("") == 1, "not measured is empty"
    assert (lanes["north"]["tags"], lanes["north"]["range_measured_s"]) == ("1", "60.0")
    assert (found[What.HEALTH][0]["temperature_c"], found[What.HEALTH][0]["cpu_percent"]) == ("-3.5", "")
    override = found[What.OVERRIDES][0]
    assert (override["user"], override["settings_json"]) == ("'=cmd", '{"cycle_s": 90}')
    assert (override["duration_s"], override["origin"]) == ("2.0", "beside")
    types = {field.name: str(field.type) for field in parquet.schema}
    assert (types["at_utc"], types["at_local"], types["duration_s"]) == (
        "timestamp[ms, tz=UTC]",
        "string",
        "double",
    )


def test_buckets_are_exact_and_tell_what_was_not_measured(collector: RunningCollector, dsn: str) -> None:
    facts = Facts(dsn, "Europe/Berlin")
    for minute in (5, 65, 66, 125):
        facts.count(NIGHT + timedelta(minutes=minute))
    facts.frames(NIGHT + timedelta(hours=3), 3600, 3600)
    facts.frames(NIGHT + timedelta(hours=2), 3600, 1800)
    facts.commit()
    text = ask(collector, "/api/export", what="rollups", junction=facts.junction, step="1h", **SPAN).text
    rows = table(text)
    shown = [(row["from_local"], row["n"], row["state"], row["measured_s"]) for row in rows]
    assert shown == [
        ("2026-10-25T02:00:00.000+02:00", "1", "partly", "0.0"),
        ("2026-10-25T02:00:00.000+01:00", "2", "partly", "1800.0"),
        ("2026-10-25T03:00:00.000+01:00", "1", "measured", "3600.0"),
        ("2026-10-25T04:00:00.000+01:00", "", "not_measured", "0.0"),
    ]
    assert {row["range_measured_s"] for row in rows} == {"5400.0"}
    # The same again once it is rolled up, and cut into many pages.
    day = ask(collector, "/api/export", what="rollups", step="1m", **SPAN).text
    assert [row["from_utc"] for row in table(day) if row["n"] not in ("", "0")] == [
        f"2026-10-25T0{minute // 60}:0{minute % 60}:00.000Z" for minute in (5, 65, 66, 125)
    ]
    assert len(table(day)) == 240
    # Dates are days there: this one has 25 hours.
    [one] = httpx.get(f"{collector.url}/api/junctions").json()["junctions"]
    path, span = f"/api/analytics/junction/{one['id']}/export", {"from": "2026-10-25", "to": "2026-10-25"}
    hours = table(ask(collector, path, what="rollups", step="1h", **span).text)
    assert (len(hours), hours[0]["from_local"]) == (25, "2026-10-25T00:00:00.000+02:00")


def test_pages_join_without_a_seam(
    on_plain: RunningCollector, plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 7)
    facts, other = Facts(plain_dsn), Facts(plain_dsn)
    for one in (facts, other):
        for i in range(50):
            # Bursts at one moment, and hours of nothing.
            one.count(NIGHT + timedelta(minutes=i // 20 * 40), "car" if i % 2 else "bus")
        one.commit()
    rows = table(ask(on_plain, "/api/export", what="counts", **SPAN).text)
    assert len(rows) == 100
    assert [row["junction"] for row in rows] == sorted(row["junction"] for row in rows)
    for junction in (facts.junction, other.junction):
        mine = [row for row in rows if row["junction"] == junction]
        assert [row["at_utc"] for row in mine] == sorted(row["at_utc"] for row in mine)
        assert sum(row["class"] == "bus" for row in mine) == 25
    rollups = table(ask(on_plain, "/api/export", what="rollups", step="1m", **SPAN).text)
    assert len({(row["junction"], row["from_utc"], row["class"]) for row in rollups}) == len(rollups)
    assert sum(int(row["n"] or 0) for row in rollups) == 100


def test_files_have_good_names_and_may_be_compressed(on_plain: RunningCollector, plain_dsn: str) -> None:
    facts = Facts(plain_dsn, junction='Straße /\r\n"Süd"')
    facts.count(NIGHT)
    facts.commit()
    query = {"what": "counts", "junction": facts.junction, **SPAN}
    answer = ask(on_plain, "/api/export", **query)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    span = "counts_20261025T0000Z_20261025T0400Z.csv"
    assert answer.headers["content-disposition"] == (
        f"attachment; filename=\"stopline_Strae-Sud_{span}\"; filename*=UTF-8''"
        + quote(f"stopline_Straße-Süd_{span}")
    )
    packed = ask(on_plain, "/api/export", compress="gzip", **query)
    assert (packed.headers["content-type"], gzip.decompress(packed.content)) == (
        "application/gzip",
        answer.content,
    )
    packed = ask(on_plain, "/api/export", compress="zstd", **query)
    assert 'filename="stopline_Strae-Sud_counts_20261025T0000Z_20261025T0400Z.csv.zst"' in str(packed.headers)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed.content) == answer.content


def test_what_cannot_be_exported_is_told(on_plain: RunningCollector) -> None:
    for wrong, told in (
        ({"what": "everything"}, "what"),
        ({"what": "counts", "step": "5m"}, "step"),
        ({"what": "counts", "format": "xls"}, "format"),
        ({"what": "counts", "compress": "rar"}, "compress"),
        ({"what": "counts", "from": "2026-05-05T00:00:00Z", "to": "2026-05-04T00:00:00Z"}, "from"),
        ({"what": "counts", "junction": "a\x00b"}, "junction"),
        ({}, "what"),
    ):
        answer = httpx.get(f"{on_plain.url}/api/export", params=wrong)
        assert answer.status_code == 400, answer.text
        assert told in answer.text
    whole = {"what": "counts", "from": "2026-10-25"}
    assert httpx.get(f"{on_plain.url}/api/export", params=whole).status_code == 400, "of which zone?"
    unknown = httpx.get(f"{on_plain.url}/api/analytics/junction/{UUID(int=1)}/export", params={"what": "counts"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "junction_unknown")
    # Nothing there is no error: a file with its header alone.
    text = ask(on_plain, "/api/export", what="counts", **{"from": "1970-01-01T00:00:00Z"}).text
    assert text.count("\r\n") == 1
    described = httpx.get(f"{on_plain.url}/schema/openapi.json").json()["paths"]
    assert {"text/csv", "application/vnd.apache.parquet"} <= set(
        described["/api/export"]["get"]["responses"]["200"]["content"]
    )
    for path in ("/api/logs", "/api/analytics/journeys", "/api/analytics/tags/{epc}"):
        assert "examples" in str(described[path]["get"]["responses"]["200"])


def test_users_get_their_junctions_alone(plain_dsn: str) -> None:
    mine, foreign = Facts(plain_dsn, junction="mine"), Facts(plain_dsn, junction="foreign")
    for facts in (mine, foreign):
        facts.count(NIGHT)
        facts.commit()
    make_user(plain_dsn, "vic", Role.VIEWER)
    execute(
        plain_dsn,
        "INSERT INTO user_junction_access (user_id, junction_id, level)"
        " SELECT u.id, j.id, 'read' FROM users u, junctions j WHERE j.name = 'mine'",
    )
    with running_collector(plain_dsn, reading_open=False) as collector:
        with httpx.Client(base_url=collector.url) as client:
            vic = bearer(client, "vic")
        for what, n in (("counts", 1), ("rollups", 4)):
            rows = table(ask(collector, "/api/export", vic, what=what, **SPAN).text)
            assert [row["junction"] for row in rows] == ["mine"] * n
        query = {"what": "counts", "junction": "foreign"}
        assert httpx.get(f"{collector.url}/api/export", params=query, headers=vic).status_code == 404
        assert httpx.get(f"{collector.url}/api/export", params={"what": "counts"}).status_code == 401
        _what_ends_while_it_is_read_is_not_whole(collector, plain_dsn, vic)


def _what_ends_while_it_is_read_is_not_whole(collector: RunningCollector, dsn: str, vic: Any) -> None:
    """Of one junction, and of all."""
    for sees_all, end in (
        (False, "DELETE FROM user_junction_access"),
        (True, "UPDATE users SET status = 'disabled'"),
    ):
        execute(dsn, "UPDATE users SET all_junctions = %s", sees_all)
        with psycopg.connect(dsn) as blocker, ThreadPoolExecutor(1) as reader:
            blocker.execute("LOCK TABLE count_events IN ACCESS EXCLUSIVE MODE")
            file = reader.submit(ask, collector, "/api/export", vic, what="counts", **SPAN)
            _wait(lambda: _at_work(dsn)[0] == 1)
            execute(dsn, end)
            blocker.commit()
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                file.result(60)


def fill(dsn: str, n: int) -> None:
    """A junction with many counts, written in one go."""
    facts = Facts(dsn)
    source = facts.source()
    facts.connection.execute(
        "INSERT INTO count_events (at, at_error_ms, seq, stream_no, source_no, cls, direction, inferred)"
        " SELECT %s::timestamptz + i * interval '100 ms', 0, i, %s, %s, 'car', 'in', false"
        " FROM generate_series(1, %s) AS i",
        (NIGHT, facts.stream_no, source, n),
    )
    facts.commit()


def test_slow_readers_hold_no_transaction_and_leave_room_and_one_that_leaves_ends_the_query(
    plain_dsn: str,
) -> None:
    fill(plain_dsn, 120_000)
    for name in ("Ada", "otto"):
        make_user(plain_dsn, name, Role.ADMIN)
    with (
        running_collector(plain_dsn, reading_open=False) as collector,
        httpx.Client(base_url=collector.url, timeout=60) as client,
    ):
        ada, otto = bearer(client), bearer(client, "otto")
        path = "/api/export?what=counts&from=2026-10-25T00:00:00Z&to=2026-10-26T00:00:00Z"
        with ExitStack() as links:
            for number in range(MAX_OF_ONE):
                link = links.enter_context(_asking(collector, path, ada))
                assert link.recv(1000).startswith(b"HTTP/1.1 200")
                if number == 0:
                    # It reads no further: the stream comes to rest, and no transaction is open.
                    _wait(lambda: all(_at_work(plain_dsn) == (0, 0) for _ in range(40)))
            refused = client.get(path, headers=ada)
            assert code(refused) == (429, "exports_of_one")
            assert refused.headers["retry-after"] == "10"
            assert "4 exports of Ada are under way" in refused.json()["detail"]
            nowhere = {"junction": "nowhere", "what": "counts"}
            told = [client.get("/api/export", params=nowhere, headers=otto).status_code for _ in range(5)]
            assert told == [404] * 5, "what did not begin holds no place"
            assert _begins(client, path, otto)
        _wait(lambda: _begins(client, path, ada))
        # A query that takes long, for somebody who leaves.
        with psycopg.connect(plain_dsn) as blocker:
            blocker.execute("LOCK TABLE count_events IN ACCESS EXCLUSIVE MODE")
            with _asking(collector, "/api/export?what=counts", otto):
                _wait(lambda: _at_work(plain_dsn)[0] == 1)
            _wait(lambda: _at_work(plain_dsn)[0] == 0, timeout_s=20)


@contextmanager
def _asking(collector: RunningCollector, path: str, headers: dict[str, str]) -> Iterator[socket.socket]:
    """A connection whose answer is read by hand, or not."""
    with socket.create_connection(("127.0.0.1", collector.port)) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"Host: x\r\nAuthorization: {headers['Authorization']}\r\n\r\n"
        link.sendall(f"GET {path} HTTP/1.1\r\n{head}".encode())
        yield link


def _begins(client: httpx.Client, path: str, headers: dict[str, str]) -> bool:
    with client.stream("GET", path, headers=headers) as file:
        return file.status_code == 200


def _at_work(dsn: str) -> tuple[int, int]:
    """How many queries for the export run or wait, and how many transactions sit idle."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FILTER (WHERE state = 'active' AND query LIKE '%FROM count_events e%'),"
            " count(*) FILTER (WHERE state LIKE 'idle in transaction%')"
            " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'stopline-collector'"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def _wait(condition: Any, timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come to be"
        time.sleep(0.01)


def test_the_command_writes_the_same(plain_dsn: str, tmp_path: Path) -> None:
    facts = Facts(plain_dsn)
    facts.count(NIGHT)
    facts.commit()
    file = tmp_path / "out.csv"
    span = ["--from", SPAN["from"], "--to", SPAN["to"]]
    done = run("export", str(file), "--dsn", plain_dsn, "--what", "counts", *span)
    assert done.returncode == 0, done.stderr
    with running_collector(plain_dsn) as collector:
        assert file.read_bytes() == ask(collector, "/api/export", what="counts", **SPAN).content
    wrong = run("export", str(file), "--dsn", plain_dsn, "--junction", "nowhere")
    assert (wrong.returncode, "junction=nowhere: there is none" in wrong.stderr) == (78, True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_database_that_restarts_is_waited_for(plain_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE_ROWS", 1000)
    fill(plain_dsn, 3_000)

    async def read() -> int:
        async with make_pool(Settings(plain_dsn, min_size=1)) as pool:
            reader = Reader(pool)
            asked = Range(NIGHT, NIGHT + timedelta(days=1), Bucket.HOUR)
            export = Export(reader, What.COUNTS, await reader.junctions(None), asked)
            lines = 0
            async for piece in export.stream():
                lines += piece.count(b"\r\n")
                with psycopg.connect(plain_dsn, autocommit=True) as other:
                    other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
            return lines

    assert asyncio.run(read()) == 3_001


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_text_is_a_formula(text: str) -> None:
    line = CsvFile([Column("a", Kind.TEXT), Column("b", Kind.FLOAT)]).add([(text, -1.5)])
    [[cell, number]] = csv.reader(io.StringIO(line.decode(), newline=""))
    assert (cell, number) == (f"'{text}", "-1.5")
    assert plain("a=b") == "a=b"
