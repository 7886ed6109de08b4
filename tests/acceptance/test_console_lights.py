"""A junction's lights on its page, in a real browser, against a real collector and a real database."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from common.codes import Direction, Via
from common.junction import Junction, Lane
from common.records import Count, Occupancy
from tests.integration.ingest_helpers import now_ms
from tests.junctions import crossroads
from tests.servers.browser import browser, expect_fit, opened, playwright
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.lights import Pi, cycle
from tests.servers.postgres import PgServer

__all__ = ["browser"]

NORTH, EAST, SOUTH, WEST = 2, 4, 6, 8
GREEN, YELLOW, RED = 1, 8, 10
FLASH = 173
expect = playwright.expect


@pytest.fixture(scope="module")
def store(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    with cloned_database(plain_server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def collector(store: str) -> Iterator[RunningCollector]:
    with running_collector(store) as running:
        yield running


@pytest.fixture
def pi(store: str, collector: RunningCollector) -> Pi:
    """North and south are green, and two cycles are over."""
    pi = Pi(store, collector)
    pi.describe(crossroads())
    pi.tell((90_000, FLASH, 2), (90_000, 155, 6), (90_000, 131, 1), (9_000, GREEN, NORTH), (9_000, GREEN, SOUTH))
    pi.send(cycle(now_ms() - 70_000, (1, 2, 3, 4)), cycle(now_ms() - 9_000))
    return pi


def address(pi: Pi) -> str:
    return f"{pi.collector.url}/junctions/{pi.junction}"


def lane(page: Any, name: str) -> Any:
    return page.locator(".lanes tbody tr", has=page.get_by_role("rowheader", name=name, exact=True))


def aspect(page: Any, name: str) -> Any:
    """The word for what a lane's light shows."""
    return lane(page, name).locator(".aspect")


def fact(page: Any, name: str) -> Any:
    return page.locator(".facts > div", has=page.get_by_text(name, exact=True)).locator("dd").first


def lit(page: Any) -> list[str]:
    """The lamps that are lit, lane by lane in the order of the description."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('.lamp:not([data-lit=no]):not([data-lit=unknown])')]"
        ".map((lamp) => `${lamp.classList[1]} ${lamp.dataset.lit}`)"
    )
    return found


def test_the_junction_is_drawn_and_lives(browser: Any, pi: Pi) -> None:
    with opened(browser, address(pi)) as page:
        expect(aspect(page, "north")).to_have_text("green")
        expect(aspect(page, "east")).to_have_text("red")
        assert lit(page) == ["green steady", "red steady", "green steady", "red steady"]
        assert sides(page) == {
            "north": "above right",
            "east": "below right",
            "south": "below left",
            "west": "above left",
        }
        facts = {"Mode": "Automatic", "Stage": "ns", "Next": "ew", "Plan": "day"}
        for name, text in facts.items():
            expect(fact(page, name)).to_have_text(text)
        rows = page.locator(".cycles tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.first.locator("td").nth(1)).to_have_text(re.compile(r"^5 veh20.s green, saturation 50 %$"))
        expect(rows.first.locator("td").nth(3)).to_have_text(re.compile(r"^not measured22.s green$"))
        expect(lane(page, "south").locator("td").nth(2)).to_have_text(re.compile(r"^not measured22.s green$"))
        page.evaluate("window.same = document.querySelector('.junction-plan')")
        crossed = Count(1, now_ms(), 0, "cam-north", "stop", Via.CAMERA, "car", Direction.IN)
        pi.send(
            crossed, msgspec.structs.replace(crossed, cls="bus"), msgspec.structs.replace(crossed, cls="person")
        )
        expect(lane(page, "north").locator("td").nth(3)).to_have_text("2")

        pi.tell((0, YELLOW, NORTH))
        expect(aspect(page, "north")).to_have_text("yellow")
        assert lit(page) == ["yellow steady", "red steady", "green steady", "red steady"]
        expect(page.locator(".plan-stage")).to_have_text("ns")
        pi.tell((0, RED, NORTH), (0, YELLOW, SOUTH), (0, RED, SOUTH), (0, GREEN, EAST), (0, GREEN, WEST))
        expect(fact(page, "Stage")).to_have_text("ew")
        expect(aspect(page, "north")).to_have_text("red")
        pi.send(cycle(now_ms(), (9, 9, 9, 9), algorithm="max_pressure"))
        expect(rows).to_have_count(3)
        expect(rows.first.locator("td").nth(3)).to_contain_text("9 veh")
        expect(lane(page, "south").locator("td").nth(2)).to_contain_text("9 veh")
        expect(fact(page, "Plan").locator("xpath=..")).to_contain_text("max pressure")
        assert page.evaluate("window.same === document.querySelector('.junction-plan')"), "it was drawn anew"


def sides(page: Any) -> dict[str, str]:
    """Where the approaches' names stand, seen from the middle; inside of the drawing, and off the roads."""
    plan = page.locator(".junction-plan").bounding_box()
    middle = (plan["x"] + plan["width"] / 2, plan["y"] + plan["height"] / 2)
    roads = [one.bounding_box() for one in page.locator(".junction-plan .road").all()]
    found = {}
    for name in page.locator(".arm-name").all():
        box = name.bounding_box()
        assert plan["x"] <= box["x"]
        assert box["x"] + box["width"] <= plan["x"] + plan["width"]
        assert not any(overlap(box, road) for road in roads), f"{name.text_content()} stands on a road"
        right, below = box["x"] + box["width"] / 2 > middle[0], box["y"] > middle[1]
        found[name.text_content()] = f"{'below' if below else 'above'} {'right' if right else 'left'}"
    return found


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    across = min(a["x"] + a["width"], b["x"] + b["width"]) > max(a["x"], b["x"])
    return across and min(a["y"] + a["height"], b["y"] + b["height"]) > max(a["y"], b["y"])


def test_queues_are_drawn_and_cleared(browser: Any, pi: Pi) -> None:
    def told(n: int, n_standing: int) -> None:
        at = now_ms()
        pi.send(Occupancy(1, at, 0, "cam-north", "approach", 1000, float(n), n, n, n_standing=n_standing))

    with opened(browser, address(pi)) as page:
        waiting = lane(page, "north").locator("td").nth(1)
        expect(waiting).to_have_text("\u2013")
        assert page.locator(".car").count() == 0
        told(3, 2)
        expect(page.locator(".car")).to_have_count(3)
        assert page.locator(".car.moves").count() == 1
        expect(page.locator(".queue").first).to_have_text("3")
        expect(waiting).to_have_text("2 of 3")
        expect(page.locator(".junction-plan title").first).to_have_text("north: green, 3 near")
        told(40, 40)
        expect(page.locator(".queue").first).to_have_text("40")
        assert 4 <= page.locator(".car").count() < 12, "as many as there is room for"
        told(0, 0)
        expect(page.locator(".car")).to_have_count(0)
        expect(page.locator(".queue").first).to_have_text("0")
        expect(page.get_by_role("heading", name="approach")).to_have_count(0)


def test_flash_is_told_and_silence_is_not_the_last_colour(browser: Any, pi: Pi) -> None:
    with opened(browser, address(pi)) as page:
        expect(aspect(page, "north")).to_have_text("green")
        pi.tell((0, FLASH, 6), (0, 12, NORTH), (0, 12, SOUTH))
        expect(fact(page, "Mode")).to_have_text("Flashing: the interlock stopped it")
        expect(aspect(page, "north")).to_have_text("flashing red")
        assert lit(page) == ["red flashing"] * 4
        old = page.locator(".old-words")
        expect(old).to_be_hidden()
        page.clock.install()
        page.clock.run_for(120_000)
        expect(old).to_contain_text("No word from the lights since")
        expect(aspect(page, "north")).to_have_text("not known")
        assert lit(page) == []
        expect(page.locator(".lamp-unknown").first).to_have_text("?")
        expect(page.get_by_role("img", name="how its lights are is not known now")).to_be_visible()


def test_a_large_junction_fits_a_phone(browser: Any, store: str, collector: RunningCollector) -> None:
    pi = Pi(store, collector)
    pi.describe(sixteen_lanes())
    pi.tell((90_000, FLASH, 2), (90_000, 155, 6), (5_000, GREEN, NORTH))
    pi.send(cycle(now_ms()))
    for scheme in ("light", "dark"):
        with opened(browser, address(pi), width_px=360, scheme=scheme) as page:
            expect(aspect(page, "north-0")).to_have_text("green")
            assert page.locator(".housing").count() == 16
            assert len(sides(page)) == 4
            expect_fit(page, 360)
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
