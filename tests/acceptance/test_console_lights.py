"""A junction's lights on the page, in a real browser, against a real collector and a real database."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from common.junction import Junction, Lane
from common.records import Occupancy
from tests.acceptance.test_console_page import LEAST_CONTRAST, PATIENCE_MS, browser, opened, playwright
from tests.integration.ingest_helpers import now_ms
from tests.junctions import crossroads
from tests.servers.collector import running_collector
from tests.servers.lights import Pi, cycle

__all__ = ["browser"]

NORTH, EAST, SOUTH, WEST = 2, 4, 6, 8
GREEN, YELLOW, RED = 1, 8, 10
FLASH = 173


@pytest.fixture
def pi(plain_dsn: str) -> Iterator[Pi]:
    """North and south are green, and two cycles are over."""
    with running_collector(plain_dsn) as running:
        pi = Pi(plain_dsn, running)
        pi.describe(crossroads())
        pi.tell(
            (90_000, FLASH, 2), (90_000, 155, 6), (90_000, 131, 1), (9_000, GREEN, NORTH), (9_000, GREEN, SOUTH)
        )
        pi.send(cycle(now_ms() - 70_000, (1, 2, 3, 4)), cycle(now_ms() - 9_000))
        yield pi


def aspect(page: Any, name: str) -> Any:
    """The word for what a movement shows."""
    return page.locator(".heads li", has_text=name).locator(".aspect")


def fact(page: Any, name: str) -> Any:
    return page.locator(".facts div", has_text=name).locator("dd")


def lit(page: Any) -> list[str]:
    """The lamps that are lit, lane by lane in the order of the description."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('.lamp:not([data-lit=no])')]"
        ".map((lamp) => `${lamp.classList[1]} ${lamp.dataset.lit}`)"
    )
    return found


def test_the_junction_is_drawn_and_lives(browser: Any, pi: Pi) -> None:
    with opened(browser, pi.collector.url) as page:
        playwright.expect(aspect(page, "north")).to_have_text("green", timeout=PATIENCE_MS)
        playwright.expect(aspect(page, "east")).to_have_text("red")
        assert lit(page) == ["green steady", "red steady", "green steady", "red steady"]
        facts = {"Mode": "Automatic", "Stage": "ns", "Plan": "day", "Algorithm": "adaptive"}
        for name, text in facts.items():
            playwright.expect(fact(page, name)).to_have_text(text)
        rows = page.locator(".cycles tbody tr")
        playwright.expect(rows).to_have_count(2)
        playwright.expect(rows.first.locator("td").nth(1)).to_have_text(
            re.compile(r"^5 veh20.s green, saturation 50 %$")
        )
        playwright.expect(rows.first.locator("td").nth(3)).to_have_text(re.compile(r"^not measured22.s green$"))
        page.evaluate("window.same = document.querySelector('.junction-plan')")

        pi.tell((0, YELLOW, NORTH))
        playwright.expect(aspect(page, "north")).to_have_text("yellow")
        assert lit(page) == ["yellow steady", "red steady", "green steady", "red steady"]
        playwright.expect(page.locator(".plan-stage")).to_have_text("ns")
        pi.tell((0, RED, NORTH), (0, YELLOW, SOUTH), (0, RED, SOUTH), (0, GREEN, EAST), (0, GREEN, WEST))
        playwright.expect(fact(page, "Stage")).to_have_text("ew")
        playwright.expect(aspect(page, "north")).to_have_text("red")
        pi.send(cycle(now_ms(), (9, 9, 9, 9), algorithm="max_pressure"))
        playwright.expect(rows).to_have_count(3)
        playwright.expect(rows.first.locator("td").nth(3)).to_contain_text("9 veh")
        playwright.expect(fact(page, "Algorithm")).to_have_text("max pressure")
        assert page.evaluate("window.same === document.querySelector('.junction-plan')"), "it was drawn anew"


def test_queues_are_drawn_and_cleared(browser: Any, pi: Pi) -> None:
    def told(n: int, n_standing: int) -> None:
        at = now_ms()
        pi.send(Occupancy(1, at, 0, "cam-north", "approach", 1000, float(n), n, n, n_standing=n_standing))

    with opened(browser, pi.collector.url) as page:
        playwright.expect(aspect(page, "north")).to_have_text("green", timeout=PATIENCE_MS)
        assert page.locator(".car").count() == 0
        told(3, 2)
        playwright.expect(page.locator(".car")).to_have_count(3)
        assert page.locator(".car.moves").count() == 1
        playwright.expect(page.locator(".queue").first).to_have_text("3")
        told(40, 40)
        playwright.expect(page.locator(".queue").first).to_have_text("40")
        assert 4 <= page.locator(".car").count() < 12, "as many as there is room for"
        told(0, 0)
        playwright.expect(page.locator(".car")).to_have_count(0)
        playwright.expect(page.locator(".queue").first).to_have_text("0")
        playwright.expect(page.get_by_role("heading", name="approach")).to_have_count(0)


def test_flash_and_silence_are_told(browser: Any, pi: Pi) -> None:
    with opened(browser, pi.collector.url) as page:
        playwright.expect(aspect(page, "north")).to_have_text("green", timeout=PATIENCE_MS)
        pi.tell((0, FLASH, 6), (0, 12, NORTH), (0, 12, SOUTH))
        playwright.expect(fact(page, "Mode")).to_have_text("Flashing: the interlock stopped it")
        playwright.expect(aspect(page, "north")).to_have_text("flashing red")
        assert lit(page) == ["red flashing"] * 4
        silent = page.locator(".lights .silent")
        assert silent.is_hidden()
        page.clock.install()
        page.clock.run_for(120_000)
        playwright.expect(silent).to_contain_text("No word from the lights since")


def test_a_large_junction_fits_a_phone(browser: Any, plain_dsn: str) -> None:
    with running_collector(plain_dsn) as running:
        pi = Pi(plain_dsn, running)
        pi.describe(sixteen_lanes())
        pi.tell((90_000, FLASH, 2), (90_000, 155, 6), (5_000, GREEN, NORTH))
        pi.send(cycle(now_ms()))
        for scheme in ("light", "dark"):
            with opened(browser, running.url, width_px=360, scheme=scheme) as page:
                playwright.expect(aspect(page, "north")).to_have_text("green", timeout=PATIENCE_MS)
                assert page.locator(".housing").count() == 16
                assert page.evaluate("document.documentElement.scrollWidth") <= 360
                assert page.evaluate(LEAST_CONTRAST) >= 4.5
                page.get_by_role("region", name="The last cycles").focus()
                label = page.locator(".junction-plan").get_attribute("aria-label")
                assert "north green, east red" in label


def sixteen_lanes() -> Junction:
    base = crossroads()
    lanes = tuple(Lane(name=f"{lane.name}-{i}", approach=lane.approach) for lane in base.lanes for i in range(4))
    movements = tuple(
        msgspec.structs.replace(one, lanes=tuple(lane.name for lane in lanes if lane.approach == one.name))
        for one in base.movements
    )
    return msgspec.structs.replace(base, lanes=lanes, movements=movements, detectors=())
