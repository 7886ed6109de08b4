"""The page in a real browser, against a real collector and a real database."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from common.codes import Direction, Via
from common.records import Count, Frames
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.device import FakeDevice
from tests.servers.ports import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
PATIENCE_MS = 15_000
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, url: str, *, width_px: int = 1280, scheme: str = "light") -> Iterator[Any]:
    """The page in a fresh profile. Fails on anything that the browser complains about."""
    context = browser.new_context(viewport={"width": width_px, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message.text) else None)
    page.goto(url, wait_until="commit")
    try:
        yield page
        assert not complaints
    finally:
        context.close()


def _is_complaint(text: str) -> bool:
    # A collector that is away is part of these tests, and so is one that wants to know who asks.
    return "net::ERR" not in text and "status of 401" not in text


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
        self._enrol(dsn, name, row[0])

    def _enrol(self, dsn: str, name: str, junction: UUID) -> None:
        self.device.enrol(dsn, junction)
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


def expect_figure(page: Any, line: str, way: str, n: int) -> None:
    """Wait until a line shows `n` for a way."""
    figure = card(page, line).locator(".figure", has_text=way).locator(".total")
    playwright.expect(figure).to_have_text(str(n), timeout=PATIENCE_MS)


@pytest.fixture
def collector(plain_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(plain_dsn) as running:
        yield running


def test_counts_arrive_live_beside_the_truth(browser: Any, plain_dsn: str, collector: RunningCollector) -> None:
    street = Street(plain_dsn, collector.url, "pi-north", "Station square")
    street.count("car", "car", "bus")
    street.count("car", "car", "bus", "truck", via=Via.TRUTH)
    with opened(browser, collector.url) as page:
        expect_figure(page, "stop line", "In", 3)
        expect_figure(page, "stop line", "Out", 0)
        shown = card(page, "stop line")
        playwright.expect(shown.locator(".figure", has_text="In").locator(".against")).to_have_text(
            "truth 4\u22121"
        )
        playwright.expect(page.locator("#link-text")).to_have_text("live")
        page.evaluate("window.same = document.querySelector('article')")

        street.count("motorcycle", way=Direction.OUT)
        expect_figure(page, "stop line", "Out", 1)
        street.count("truck")
        expect_figure(page, "stop line", "In", 4)
        playwright.expect(shown.locator(".figure", has_text="In").locator(".against")).to_have_text("truth 4equal")
        playwright.expect(shown.locator("tbody tr", has_text="truck")).to_have_text("truck1 / 10 / 0")
        latest = page.locator("#crossings li")
        playwright.expect(latest).to_have_count(2)
        playwright.expect(latest.first).to_contain_text("truck")
        assert page.evaluate("window.same === document.querySelector('article')"), "the page was built anew"


def test_the_store_has_the_last_word(browser: Any, plain_dsn: str, collector: RunningCollector) -> None:
    """What was counted while the page was away, or came late, is there after it read the store."""
    street = Street(plain_dsn, collector.url, "pi-north", "Station square")
    street.count("car")
    with opened(browser, collector.url) as page:
        expect_figure(page, "stop line", "In", 1)
        page.context.set_offline(True)
        street.count("car", "car", ago_ms=MINUTE_MS)
        page.context.set_offline(False)
        expect_figure(page, "stop line", "In", 3)


def test_names_are_text(browser: Any, plain_dsn: str, collector: RunningCollector) -> None:
    name = "<img src=x onerror=alert(1)>"
    street = Street(plain_dsn, collector.url, "<b>pi</b>", "<script>alert(1)</script>", line=name)
    street.count("<i>car</i>")
    with opened(browser, collector.url) as page:
        expect_figure(page, name, "In", 1)
        street.count("<i>car</i>")
        expect_figure(page, name, "In", 2)
        assert page.locator("main img, main script, main i, main b").count() == 0


def test_several_junctions_and_devices_stand_apart(
    browser: Any, plain_dsn: str, collector: RunningCollector
) -> None:
    streets = [
        Street(plain_dsn, collector.url, "pi-1", "East", line="a"),
        Street(plain_dsn, collector.url, "pi-2", "East", line="b"),
        Street(plain_dsn, collector.url, "pi-3", "West", line="c"),
    ]
    for n, street in enumerate(streets, start=1):
        street.count(*["car"] * n)
    with opened(browser, collector.url) as page:
        expect_figure(page, "c", "In", 3)
        playwright.expect(page.locator(".junction h2")).to_have_text(["East", "West"])
        playwright.expect(page.locator(".junction").first.locator("h3")).to_have_text(["a", "b"])
        streets[1].count("car")
        expect_figure(page, "b", "In", 3)
        expect_figure(page, "a", "In", 1)
        page.reload()
        playwright.expect(page.locator("#proof-rows tr")).to_have_count(3)
        playwright.expect(page.locator("#proof-summary")).to_have_text(
            "Every record is accounted for: 7 made = 7 stored + 0 rejected + 0 lost."
        )


def test_what_was_not_measured_is_hatched_and_not_zero(
    browser: Any, plain_dsn: str, collector: RunningCollector
) -> None:
    street = Street(plain_dsn, collector.url, "pi-north", "Station square")
    this_minute = now_ms() // MINUTE_MS * MINUTE_MS
    minutes_ago = {10: MINUTE_MS, 9: MINUTE_MS, 8: MINUTE_MS // 4, 7: 0, 6: MINUTE_MS, 5: MINUTE_MS}
    for n, measured_ms in minutes_ago.items():
        if measured_ms:
            street.watch(this_minute - n * MINUTE_MS, measured_ms)
    street.count("car", ago_ms=now_ms() - (this_minute - 9 * MINUTE_MS) - 1000)
    with opened(browser, collector.url) as page:
        expect_figure(page, "stop line", "In", 1)
        slots = card(page, "stop line").locator("svg g")
        playwright.expect(slots).to_have_count(60)

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


@contextmanager
def collector_process(dsn: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A collector that can be killed. `port` is ours: its browser comes back to it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "collector", "serve", "--dsn", dsn, "--port", str(port)],
            stdout=output,
            stderr=output,
            env={name: text for name, text in os.environ.items() if not name.startswith("STOPLINE_")},
        )
    try:
        deadline_s = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline_s, log.read_text()
                time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_lost_collector_is_told_and_its_return_is_read(browser: Any, plain_dsn: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        process = stack.enter_context(collector_process(plain_dsn, port, tmp_path / "1.log"))
        street = Street(plain_dsn, url, "pi-north", "Station square")
        street.count("car")
        page = stack.enter_context(opened(browser, url))
        expect_figure(page, "stop line", "In", 1)
        process.kill()
        link = page.locator("#link")
        playwright.expect(link).to_have_attribute("data-state", "reconnecting")
        playwright.expect(link).to_have_attribute("data-state", "stopped", timeout=PATIENCE_MS)
        playwright.expect(page.locator("#link-text")).to_contain_text("data stopped since")
        expect_figure(page, "stop line", "In", 1)

        stack.enter_context(collector_process(plain_dsn, port, tmp_path / "2.log"))
        street.count("car", "car")
        playwright.expect(link).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)
        expect_figure(page, "stop line", "In", 3)
        street.count("car")
        expect_figure(page, "stop line", "In", 4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width_px", [360, 1280])
def test_it_fits_phones_and_both_schemes(
    browser: Any, plain_dsn: str, collector: RunningCollector, tmp_path: Path, width_px: int, scheme: str
) -> None:
    street = Street(plain_dsn, collector.url, "pi-north-with-a-rather-long-name", "Station square / Long Street")
    street.count(*["car"] * 12, "bus", "truck", "motorcycle")
    street.count(*["car"] * 12, "bus", "truck", "motorcycle", via=Via.TRUTH)
    with opened(browser, collector.url, width_px=width_px, scheme=scheme) as page:
        expect_figure(page, "stop line", "In", 15)
        street.count("car")
        expect_figure(page, "stop line", "In", 16)
        page.screenshot(path=tmp_path / f"{scheme}-{width_px}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width_px
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) < 380) == (
            scheme == "dark"
        )
        assert page.evaluate(LEAST_CONTRAST) >= 4.5


LEAST_CONTRAST = """
() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const groundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const ground = rgb(getComputedStyle(at).backgroundColor);
      if (ground.length === 3 || ground[3] > 0) return ground;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility()
    && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && !element.closest("svg"));
  return Math.min(...texts.map((element) => {
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(groundOf(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
}
"""
"""The least contrast between any text and its ground, as WCAG measures it; AA asks for 4.5."""


def test_it_works_with_a_keyboard(browser: Any, plain_dsn: str, collector: RunningCollector) -> None:
    Street(plain_dsn, collector.url, "pi-north", "Station square").count("car")
    with opened(browser, collector.url) as page:
        expect_figure(page, "stop line", "In", 1)
        page.keyboard.press("Tab")
        playwright.expect(page.get_by_text("Skip to the counts")).to_be_focused()
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#lines")).to_be_focused()
        page.keyboard.press("Tab")
        playwright.expect(page.get_by_role("region", name="Completeness")).to_be_focused()


def test_nothing_jumps_when_counts_arrive(browser: Any, plain_dsn: str, collector: RunningCollector) -> None:
    street = Street(plain_dsn, collector.url, "pi-north", "Station square")
    street.count("car")
    with opened(browser, collector.url) as page:
        expect_figure(page, "stop line", "In", 1)
        page.evaluate(
            "window.shifts = 0; new PerformanceObserver((list) => list.getEntries()"
            ".forEach((entry) => { shifts += entry.value; })).observe({type: 'layout-shift'})"
        )
        for n, cls in enumerate(["bus", "truck", "car", "motorcycle"], start=2):
            street.count(cls, way=Direction.IN)
            expect_figure(page, "stop line", "In", n)
        assert page.evaluate("window.shifts") < 0.01


def test_a_number_settles_on_what_the_store_says(browser: Any, collector: RunningCollector) -> None:
    """`Tally` alone: told live, then read."""
    with opened(browser, collector.url) as page:
        result = page.evaluate(
            """async () => {
              const { Tally } = await import("/console/tally.js");
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
