"""The page of a junction in a real browser, against a real collector and a real database."""

import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from msgspec.structs import replace

from common.codes import Direction, Via
from common.junction import Detector, DetectorKind
from common.records import SOURCES_ACTION, Count, Frames, Log
from tests.junctions import crossroads
from tests.servers.browser import LEAST_CONTRAST, PATIENCE_MS, browser, expect_fit, opened, playwright
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.device import FakeDevice
from tests.servers.lights import Pi
from tests.servers.ports import free_port
from tests.servers.postgres import PgServer

__all__ = ["LEAST_CONTRAST", "PATIENCE_MS", "Street", "browser", "opened", "playwright"]

MINUTE_MS = 60_000
expect = playwright.expect


class Street:
    """A device at a junction that counts what it is told to."""

    def __init__(self, dsn: str, url: str, name: str, junction: str, *, line: str = "stop line") -> None:
        self.device = FakeDevice()
        self.url = url
        self.line = line
        self._seq = 1
        with psycopg.connect(dsn) as connection:
            connection.execute("INSERT INTO junctions (name) VALUES (%s) ON CONFLICT DO NOTHING", (junction,))
            row = connection.execute("SELECT id FROM junctions WHERE name = %s", (junction,)).fetchone()
        assert row is not None
        self.junction: UUID = row[0]
        self._enrol(dsn, name)

    @property
    def next_seq(self) -> int:
        return self._seq

    @property
    def page(self) -> str:
        """Where the console shows it."""
        return f"{self.url}/junctions/{self.junction}"

    def _enrol(self, dsn: str, name: str) -> None:
        self.device.enrol(dsn, self.junction)
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE edge_devices SET name = %s WHERE id = %s", (name, self.device.id))

    def count(self, *classes: str, way: Direction = Direction.IN, via: Via = Via.CAMERA, ago_ms: int = 0) -> None:
        """One crossing per class, now or a while ago."""
        self.send(
            [
                Count(self._seq + i, now_ms() - ago_ms, 0, "camera", self.line, via, cls, way, 0.9, str(i))
                for i, cls in enumerate(classes)
            ]
        )

    def watch(self, minute: int, measured_ms: int = MINUTE_MS) -> None:
        """The camera saw `measured_ms` of the minute that begins at `minute` (ms since 1970)."""
        self.send([Frames(self._seq, minute + MINUTE_MS, 0, "camera", MINUTE_MS, measured_ms, 600, 0)])

    def send(self, records: Sequence[Any]) -> None:
        """Deliver records; they are stored when this returns."""
        body = self.device.batch(records, first_seq=self._seq)
        request = urllib.request.Request(
            f"{self.url}/api/ingest/batches",
            body,
            {"Authorization": f"Bearer {self.device.token()}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
        self._seq += len(records)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def card(page: Any, line: str) -> Any:
    """The part of the page that shows a line."""
    return page.locator("article", has=page.get_by_role("heading", name=line, exact=True))


def expect_figure(page: Any, line: str, way: str, n: int | str) -> None:
    """Wait until a line shows `n` for a way."""
    figure = card(page, line).locator(".figure", has_text=way).locator(".total")
    expect(figure).to_have_text(str(n), timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def store(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    """One database for all tests here: each has junctions of its own."""
    with cloned_database(plain_server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def collector(store: str) -> Iterator[RunningCollector]:
    with running_collector(store) as running:
        yield running


def test_counts_arrive_live_beside_the_truth(browser: Any, store: str, collector: RunningCollector) -> None:
    street = Street(store, collector.url, "pi-north", "Station square")
    street.count("car", "car", "bus")
    street.count("car", "car", "bus", "truck", via=Via.TRUTH)
    with opened(browser, street.page) as page:
        expect_figure(page, "stop line", "In", 3)
        expect_figure(page, "stop line", "Out", 0)
        expect(page.get_by_role("heading", level=1)).to_have_text("Station square")
        shown = card(page, "stop line")
        expect(shown.locator(".figure", has_text="In").locator(".against")).to_have_text("truth 4\u22121")
        expect(page.locator("#link-text")).to_have_text("live")
        page.evaluate("window.same = document.querySelector('article')")
        page.evaluate(
            """window.shifts = 0;
            const add = (list) => list.getEntries().forEach((entry) => { window.shifts += entry.value; });
            new PerformanceObserver(add).observe({type: "layout-shift", buffered: false})"""
        )

        street.count("motorcycle", way=Direction.OUT)
        expect_figure(page, "stop line", "Out", 1)
        street.count("truck")
        expect_figure(page, "stop line", "In", 4)
        expect(shown.locator(".figure", has_text="In").locator(".against")).to_have_text("truth 4equal")
        expect(shown.locator("tbody tr", has_text="truck")).to_have_text("truck1 / 10 / 0")
        latest = page.locator(".latest li")
        expect(latest).to_have_count(2)
        expect(latest.first).to_contain_text("truck")
        assert page.evaluate("window.same === document.querySelector('article')"), "the page was built anew"
        assert page.evaluate("window.shifts") < 0.02, "what is read jumps away"

        # A phone that slept does not trust a connection that said nothing meanwhile.
        with page.expect_request(lambda request: "/api/live" in request.url, timeout=5_000):
            page.evaluate(
                "const now = Date.now; Date.now = () => now() + 14_000;"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
        expect(page.locator("#link-text")).to_have_text("live")


def test_names_are_text_and_other_junctions_are_left_out(
    browser: Any, store: str, collector: RunningCollector
) -> None:
    name = "<img src=x onerror=alert(1)>"
    street = Street(store, collector.url, "<b>pi</b>", "<script>alert(1)</script>", line=name)
    other = Street(store, collector.url, "pi-2", "<script>alert(1)</script>", line="b")
    elsewhere = Street(store, collector.url, "pi-3", "West", line="c")
    for each in (street, other, elsewhere):
        each.count("<i>car</i>")
    with opened(browser, street.page) as page:
        expect_figure(page, name, "In", 1)
        elsewhere.count("car")
        street.count("<i>car</i>")
        expect_figure(page, name, "In", 2)
        expect_figure(page, "b", "In", 1)
        expect(page.locator("article h3")).to_have_text([name, "b"])
        expect(page.locator(".latest li")).to_have_count(1)
        assert page.locator("main img, main script, main i, main b").count() == 0


def test_what_stands_at_no_junction_has_a_page(browser: Any, store: str, collector: RunningCollector) -> None:
    street = Street(store, collector.url, "pi-new", "Soon elsewhere", line="loose")
    with psycopg.connect(store) as connection:
        connection.execute("UPDATE edge_devices SET junction_id = NULL WHERE id = %s", (street.device.id,))
    elsewhere = Street(store, collector.url, "pi-far", "Far", line="far")
    lights = Pi(store, collector)
    street.count("car")
    with opened(browser, f"{collector.url}/junctions/none") as page:
        expect_figure(page, "loose", "In", 1)
        lights.tell((0, 1, 2))
        elsewhere.count("car")
        street.count("car")
        expect_figure(page, "loose", "In", 2)
        expect(page.locator("article h3")).to_have_text(["loose"])
        expect(page.get_by_role("region", name="Lights")).to_have_count(0)


def test_what_was_not_measured_is_hatched_and_not_zero(
    browser: Any, store: str, collector: RunningCollector
) -> None:
    street = Street(store, collector.url, "pi-east", f"Cathedral {now_ms()}")
    street.count("car", ago_ms=3 * 24 * 3_600_000)
    with opened(browser, street.page) as page:
        expect_figure(page, "stop line", "In", "\u2013")
        street.count("car")
        expect_figure(page, "stop line", "In", 1)
    while now_ms() % MINUTE_MS > MINUTE_MS * 3 // 4:
        # What is five minutes ago now would be six minutes ago on the page.
        time.sleep(0.1)
    this_minute = now_ms() // MINUTE_MS * MINUTE_MS
    minutes_ago = {10: MINUTE_MS, 9: MINUTE_MS, 8: MINUTE_MS // 4, 7: 0, 6: MINUTE_MS, 5: MINUTE_MS}
    for n, measured_ms in minutes_ago.items():
        if measured_ms:
            street.watch(this_minute - n * MINUTE_MS, measured_ms)
    street.count("car", ago_ms=now_ms() - (this_minute - 9 * MINUTE_MS) - 1000)
    with opened(browser, street.page) as page:
        expect_figure(page, "stop line", "In", 2)
        slots = card(page, "stop line").locator("svg g")
        expect(slots).to_have_count(60)

        def hatched(n_ago: int) -> float:
            return float(slots.nth(59 - n_ago).locator(".unmeasured").get_attribute("height"))

        page.wait_for_function("document.querySelectorAll('svg .unmeasured[height=\"0\"]').length > 0")
        whole = hatched(30)
        assert whole > 40
        assert [hatched(n) for n in (10, 9, 6, 5)] == [0, 0, 0, 0]
        assert hatched(7) == whole
        assert hatched(8) == pytest.approx(whole * 0.75, abs=0.01)
        assert hatched(0) == 0, "the minute that runs is not yet judged"
        assert "not measured" in (slots.nth(59 - 7).locator("title").text_content() or "")
        assert float(slots.nth(59 - 9).locator(".bar-in").get_attribute("height")) > 0


def test_a_lost_collector_is_told_and_its_return_is_read(browser: Any, store: str) -> None:
    port = free_port()
    with ExitStack() as stack:
        with running_collector(store, port=port) as first:
            street = Street(store, first.url, "pi-lost", "Old Mill")
            street.count("car")
            page = stack.enter_context(opened(browser, street.page))
            expect_figure(page, "stop line", "In", 1)
        link = page.locator("#link")
        expect(link).to_have_attribute("data-state", "stopped")
        expect(page.locator("#link-text")).to_contain_text("data stopped since")
        expect(page.locator(".old-words")).to_contain_text("Nothing comes from the collector since")
        expect_figure(page, "stop line", "In", 1)

        stack.enter_context(running_collector(store, port=port))
        street.count("car", "car", ago_ms=MINUTE_MS)
        expect(link).to_have_attribute("data-state", "live")
        expect_figure(page, "stop line", "In", 3)
        expect(page.locator(".old-words")).to_be_hidden()
        street.count("car")
        expect_figure(page, "stop line", "In", 4)


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 360), ("dark", 360), ("dark", 1280)])
def test_it_fits_phones_and_both_schemes(
    browser: Any, store: str, collector: RunningCollector, tmp_path: Path, width_px: int, scheme: str
) -> None:
    name = f"Station square / Long Street {scheme} {width_px}"
    street = Street(store, collector.url, "pi-north-with-a-rather-long-name", name)
    street.count(*["car"] * 12, "bus", "truck", "motorcycle")
    street.count(*["car"] * 12, "bus", "truck", "motorcycle", via=Via.TRUTH)
    with opened(browser, street.page, width_px=width_px, scheme=scheme) as page:
        expect_figure(page, "stop line", "In", 15)
        street.count("car")
        expect_figure(page, "stop line", "In", 16)
        page.screenshot(path=tmp_path / f"{scheme}-{width_px}.png", full_page=True)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 380) == (
            scheme == "dark"
        )
        expect_fit(page, width_px)


def test_a_number_settles_on_what_the_store_says(browser: Any, collector: RunningCollector) -> None:
    """`Tally` alone: told live, then read."""
    with opened(browser, collector.url) as page:
        result = page.evaluate(
            """async () => {
              const { Tally } = await import("/console/junction/tally.js");
              const shown = [];
              const tally = new Tally();
              const settle = (stored, at) => { tally.settle(stored, at); shown.push(tally.shown); };
              settle(10, 0);
              tally.add(1000); tally.add(1500);
              settle(10, 900);     // Asked before they were told: they may be missing from it.
              settle(11, 1200);    // One surely is in it, the other may be.
              settle(12, 1600);
              settle(14, 1700);    // Two were never told: the store knows better.
              tally.add(2000);     // Told, but in what is read too:
              settle(15, 1900);
              tally.add(2500);
              settle(15, 2400);    // one too many,
              settle(15, 3000);    // until the next reading.
              settle(3, 20000);    // A new day.
              return shown;
            }"""
        )
    assert result == [10, 12, 12, 12, 14, 15, 16, 15, 3]


def test_a_line_that_was_renamed_on_the_pi_alone_is_told_with_what_to_do(
    browser: Any, store: str, collector: RunningCollector
) -> None:
    street = Street(store, collector.url, "pi-renamed", "Renamed")
    stop_lines = [(1, "north", "main"), (2, "south", "side"), (3, "east", "never")]
    lines = tuple(
        Detector(channel=no, lane=lane, kind=DetectorKind.STOP_LINE, sensor="camera", source=source)
        for no, lane, source in stop_lines
    )
    described = json.dumps({"description": msgspec.json.encode(replace(crossroads(), detectors=lines)).decode()})

    def counts_at(*names: str) -> None:
        told: dict[str, Any] = {"sensor": "camera", "lines": json.dumps(names), "zones": "[]", "turns": "[]"}
        street.send([Log(street.next_seq, now_ms(), 0, "info", SOURCES_ACTION, "it counts", told)])

    counts_at("main", "side", "test")
    with psycopg.connect(store) as connection:
        statement = "UPDATE junctions SET metadata = jsonb_build_object('lights', %s::jsonb) WHERE id = %s"
        connection.execute(statement, (described, street.junction))
    with opened(browser, street.page) as page:
        told = page.get_by_role("region", name="Lines and lanes").get_by_role("listitem")
        never = "Lane east counts at camera/never, of which no device here has told;"
        expect(told).to_have_count(1)
        expect(told).to_have_text(f"{never} camera has test: rename it in the junction\u2019s description.")
        counts_at("main2", "side", "test")
        page.reload()
        main = "Lane north counts at camera/main, which camera does not have any more;"
        mend = "camera has main2, test: rename it in the junction\u2019s description."
        expect(told).to_have_text([f"{main} {mend}", f"{never} {mend}"])
        with psycopg.connect(store) as connection:
            mended = described.replace('\\"main\\"', '\\"main2\\"').replace('\\"never\\"', '\\"side\\"')
            connection.execute(statement, (mended, street.junction))
        page.reload()
        expect(told).to_have_text(["No lane is counted at camera/test."])
        counts_at("main2", "side")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text("Renamed")
        expect(page.get_by_role("region", name="Lines and lanes")).to_be_hidden()
