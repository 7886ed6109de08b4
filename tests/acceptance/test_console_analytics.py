"""The page of analytics in a real browser: charts, without any style in the page, and the tables of the same."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from collector.identity.users import Role
from tests.acceptance.test_console_pages import PHONE_PX, signed_in
from tests.integration.test_users import make_user
from tests.junctions import crossroads
from tests.servers.browser import browser, expect_fit, playwright
from tests.servers.collector import running_collector
from tests.servers.databases import cloned_database
from tests.servers.postgres import PgServer

expect = playwright.expect
facts_module = pytest.importorskip("tests.integration.analytics_facts", reason="there are no analytics yet")

__all__ = ["browser"]

ZONE = ZoneInfo("Europe/Berlin")
MONDAY = date(2026, 3, 23)
DAYS = f"from={MONDAY}&to={MONDAY + timedelta(days=6)}"
"""The week in which the clocks change."""
FORMULA = "-1+2"
"""The name of somebody whom a spreadsheet should not reckon with."""
COUNTS = {0: 7, 1: 5, 2: None, 3: 3, 4: None, 5: 2, 6: 4}
"""How many were counted on which day; None: not measured."""


@dataclass(frozen=True)
class Week:
    """A collector, and the junction whose week is looked at."""

    url: str
    junction: UUID

    @property
    def page(self) -> str:
        return f"/analytics/{self.junction}?{DAYS}"


@pytest.fixture(scope="module")
def week(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[Week]:
    with cloned_database(plain_server, next(database_names)) as dsn:
        make_user(dsn, "Ada", Role.ADMIN)
        facts = facts_module.LightsFacts(dsn, "Europe/Berlin", junction="Market <b>Square</b>")
        facts.describe(crossroads())
        for day, n in COUNTS.items():
            if n is not None:
                _day(facts, MONDAY + timedelta(days=day), n)
        facts.override(_at(MONDAY, 9), _at(MONDAY, 10), user=FORMULA)
        junction = facts.junction_id
        facts.commit()
        with running_collector(dsn, reading_open=False) as running:
            yield Week(running.url, junction)


def _at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZONE).astimezone(UTC)


def _day(facts: Any, day: date, n: int) -> None:
    for minute in range(n):
        facts.count(_at(day, 8, minute), source="north line", direction="in")
    facts.frames(_at(day, 10), 3 * 3600, 3 * 3600)
    lanes = [facts_module.LaneFact(lane, 25, 3, 32, n, 0.1 * n) for lane in ("north", "south")]
    for minute in (1, 2):
        facts.cycle(_at(day, 8, minute), lanes)


def panel(page: Any, title: str) -> Any:
    return page.locator(".panel", has=page.get_by_role("heading", name=title, exact=True))


def answered(page: Any, week: Week, path: str) -> Any:
    """What the API answers for the same days."""
    answer = page.context.request.get(f"{week.url}/api/analytics/junction/{week.junction}/{path}?{DAYS}")
    assert answer.ok, answer.text()
    return answer.json()


def saved(page: Any, described: Any) -> list[dict[str, str]]:
    """The file of a panel, line by line."""
    with page.expect_download() as begun:
        described.get_by_role("button", name="CSV").click()
    with open(begun.value.path(), encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_charts_are_drawn_and_their_tables_and_files_are_what_the_api_tells(browser: Any, week: Week) -> None:
    with signed_in(browser, week.url, week.page) as page:
        days = panel(page, "Vehicles by day")
        expect(days.get_by_role("status")).to_contain_text("not measured. Not counted all the time: north line (")
        told = answered(page, week, "daily")["days"]
        measured = [day for day in told if day["vehicles"] is not None]
        assert 0 < len(measured) < len(told) == len(COUNTS)
        expect(days.locator(".barlayer .point")).to_have_count(len(measured))
        expect(days.locator(".scatterlayer .point")).to_have_count(len(told) - len(measured))
        days.get_by_text("As a table").click()
        rows = days.locator("tbody tr")
        expect(rows).to_have_count(len(told))
        shown = [each.locator("td").first.inner_text() for each in rows.all()]
        assert shown == ["not measured" if day["vehicles"] is None else str(day["vehicles"]) for day in told]
        lines = saved(page, days)
        assert [(line["Day"], line["Vehicles"]) for line in lines] == [
            (day["date"], "" if day["vehicles"] is None else str(day["vehicles"])) for day in told
        ]
        cells = panel(page, "The week by hours").locator(".barlayer .point")
        expect(cells).to_have_count(7 * 24)
        lanes = panel(page, "Lanes")
        lanes.get_by_text("As a table").click()
        expect(lanes.locator("tbody tr")).to_have_count(len(answered(page, week, "lanes")["lanes"]))
        expect(panel(page, "Orders by hand").get_by_role("status")).to_contain_text("1 in all, for 60\u202fmin")
        assert {line["Who"] for line in saved(page, panel(page, "Orders by hand"))} == {f"'{FORMULA}"}
        change = panel(page, "Before and after a change of plan")
        expect(change.get_by_role("status")).to_contain_text("No new plan ran in these days.")
        change.get_by_label("Changed on").fill(str(MONDAY + timedelta(days=3)))
        expect(change.get_by_role("status")).to_contain_text("Split at Thu 26 Mar, 00:00")
        assert page.locator("main h1 b, .panel b").count() == 0, "names are text"
        full = panel(page, "How full the lanes are").locator(".scatterlayer")
        expect(full.locator(".point")).to_have_count(2 * len([n for n in COUNTS.values() if n is not None]))
        lines = full.locator(".js-line").evaluate_all("(all) => all.map((line) => line.getAttribute('d') ?? '')")
        assert not [line for line in lines if "L" in line], "a line over hours that were not measured"
        for title in ("How full the lanes are", "What became of the cycles' time"):
            expect(panel(page, title).locator(".chart svg").first).to_be_visible()
        making = {"status": 503, "code": "hours_not_made", "title": "x", "hours": 168, "hours_lacking": 100}
        page.route("**/saturation?*", lambda route: route.fulfill(status=503, json=making))
        page.reload()
        told = panel(page, "How full the lanes are").get_by_role("status")
        expect(told).to_have_text("Being added up for the first time: 68 of 168 hours are there.")
        page.unroute("**/saturation?*")
        expect(full.locator(".point")).to_have_count(2 * len([n for n in COUNTS.values() if n is not None]))


def test_other_days_are_asked_and_kept_in_the_address(browser: Any, week: Week) -> None:
    with signed_in(browser, week.url, f"/analytics/{week.junction.int % 7:032x}") as page:
        expect(page.get_by_text("There is no such junction, or you may not see it.")).to_be_visible()
        expect(page.locator(".panel")).to_have_count(0)
        page.get_by_role("link", name="Analytics").first.click()
        chooser = page.get_by_role("combobox", name="Junction")
        chooser.fill("no such")
        expect(page.get_by_text("No junction has that in its name.")).to_be_visible()
        chooser.press("Escape")
        expect(page.get_by_role("listbox")).to_be_hidden()
        chooser.fill("arket")
        option = page.get_by_role("option", name="Market <b>Square</b>")
        expect(option).to_have_attribute("aria-selected", "false")
        chooser.press("ArrowDown")
        expect(option).to_have_attribute("aria-selected", "true")
        chooser.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Market <b>Square</b>")
        page.get_by_label("4 weeks").check()
        expect(page).to_have_url(f"{week.url}/analytics/{week.junction}?days=28")
        page.get_by_label("3 months").check()
        expect(panel(page, "Arrivals on green").get_by_role("status")).to_contain_text("at most 31 days")
        page.get_by_label("To", exact=True).fill(str(MONDAY + timedelta(days=1)))
        expect(page.get_by_role("alert").filter(has_text="lies after the last")).to_be_visible()
        page.get_by_label("From", exact=True).fill(str(MONDAY))
        expect(panel(page, "Vehicles by day").get_by_role("status")).to_contain_text("on 2 days")
        expect(page).to_have_url(
            f"{week.url}/analytics/{week.junction}?from={MONDAY}&to={MONDAY + timedelta(days=1)}"
        )


def test_what_is_stored_is_downloaded(browser: Any, week: Week) -> None:
    with signed_in(browser, week.url, week.page) as page:
        with page.expect_download() as begun:
            page.get_by_role("link", name="Each crossing as CSV").click()
        with open(begun.value.path(), encoding="utf-8-sig", newline="") as file:
            assert len(list(csv.DictReader(file))) == sum(n or 0 for n in COUNTS.values())


def test_it_fits_a_phone_in_the_dark(browser: Any, week: Week) -> None:
    with signed_in(browser, week.url, week.page, width_px=PHONE_PX, scheme="dark") as page:
        expect(panel(page, "Vehicles by day").locator(".chart svg").first).to_be_visible()
        expect(page.locator(".asking")).to_have_count(0)
        expect_fit(page, PHONE_PX)
