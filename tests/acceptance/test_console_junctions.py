"""The console's shell, its list and its map of junctions, in a real browser, by people who sign in."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from collector.identity.users import Role
from tests.acceptance.test_console_page import Street
from tests.integration.test_users import OTHER, PASSWORD, bearer, execute, make_user
from tests.servers.browser import browser, expect_fit, opened, playwright
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.postgres import PgServer

__all__ = ["browser"]

expect = playwright.expect
ADA = ("ada", PASSWORD)
N_SUBURB = 60
LEAST_APART_PX = """
() => {
  const marks = [...document.querySelectorAll(".mark")].map((mark) => mark.getBoundingClientRect());
  const middles = marks.map(({ x, y, width, height }) => [x + width / 2, y + height / 2]);
  const apart = middles.flatMap(([x, y], i) => middles.slice(i + 1).map(([u, v]) => Math.hypot(x - u, y - v)));
  return Math.min(1000, ...apart);
}
"""
"""How near to each other the nearest two marks of the map are; WCAG 2.5.8 asks for 24."""


@pytest.fixture(scope="module")
def store(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    with cloned_database(plain_server, next(database_names)) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def collector(store: str) -> Iterator[RunningCollector]:
    """A city: two junctions in the centre, 60 in a suburb close to each other, and one that is nowhere."""
    make_user(store, "ada", Role.ADMIN)
    make_user(store, "vic", Role.VIEWER)
    make_user(store, "nina", Role.VIEWER)
    with running_collector(store, reading_open=False) as running:
        for name in ("Cathedral", "Market Square"):
            Street(store, running.url, f"pi {name}", name).count("car", "bus")
        with psycopg.connect(store, autocommit=True) as connection:
            connection.execute("UPDATE users SET all_junctions = name <> 'nina'")
            connection.execute("INSERT INTO junctions (name) VALUES ('Nowhere')")
            _place(connection, "Cathedral", 52.50, 13.30)
            _place(connection, "Market Square", 52.52, 13.42)
            # On both sides of a line at which cells of any size end: 421 / 8 degrees.
            for i in range(N_SUBURB):
                _place(
                    connection, f"Suburb {i}", 52.6249 + (i * 0.0004 if i < 4 else 0.0016 + i * 0.000_001), 13.50
                )
        yield running


def _place(connection: Any, name: str, latitude: float, longitude: float) -> None:
    row = connection.execute(
        "INSERT INTO locations (name, latitude, longitude) VALUES (%s, %s, %s) RETURNING id",
        (name, latitude, longitude),
    ).fetchone()
    connection.execute(
        "INSERT INTO junctions (name, location_id) VALUES (%s, %s)"
        " ON CONFLICT (name) DO UPDATE SET location_id = excluded.location_id",
        (name, row[0]),
    )


def test_what_the_map_is_told(collector: RunningCollector, store: str) -> None:
    with httpx.Client(base_url=collector.url, headers=bearer(httpx.Client(base_url=collector.url))) as client:

        def ask(**query: Any) -> Any:
            answer = client.get("/api/junctions/map", params=query)
            assert answer.status_code == 200, answer.text
            return answer.json()

        whole = ask()
        assert (whole["placed"], whole["unplaced"], whole["complete"]) == (N_SUBURB + 2, 1, True)
        assert whole["bounds"] == pytest.approx({"west": 13.30, "south": 52.50, "east": 13.50, "north": 52.626559})
        assert sum(cell["n"] for cell in whole["cells"]) == N_SUBURB + 2
        [suburb] = ask(q="SUBURB", cell_latitude=0.1, cell_longitude=0.1)["cells"]
        assert (suburb["n"], suburb["junction"]) == (N_SUBURB, None)
        assert suburb["states"] == {"live": 0, "late": 0, "silent": 0, "never": N_SUBURB}
        centre = {"west": 13.4, "south": 52.51, "east": 13.45, "north": 52.53}
        [square] = ask(**centre)["cells"]
        assert (square["junction"]["name"], square["states"]["live"]) == ("Market Square", 1)
        assert ask(**centre, state=["late", "never"])["cells"] == []
        assert {cell["junction"]["name"] for cell in ask(state="live")["cells"]} == {"Cathedral", "Market Square"}
        assert ask(q="nothing is named so") == {
            "bounds": None,
            "placed": 0,
            "unplaced": 0,
            "cells": [],
            "complete": True,
        }
        wrong: list[dict[str, Any]] = [{"west": 13}, {"q": "\0"}, {"cell_latitude": 0}, {"west": 500}]
        wrong += [{"state": "well"}, dict.fromkeys(("west", "south", "east", "north"), "nan")]
        for bad in wrong:
            assert client.get("/api/junctions/map", params=bad).status_code == 400, bad
        # Who sees one junction sees one on the map, and no bounds of others.
        make_user(store, "one", Role.VIEWER)
        grant = """INSERT INTO user_junction_access (user_id, junction_id, level)
            SELECT u.id, j.id, 'read' FROM users u, junctions j
            WHERE u.name = 'one' AND j.name = 'Market Square'"""
        execute(store, grant)
        client.headers.update(bearer(client, "one"))
        mine = ask()
        assert (mine["placed"], mine["unplaced"]) == (1, 0)
        assert [cell["junction"]["name"] for cell in mine["cells"]] == ["Market Square"]


def heading(page: Any) -> Any:
    return page.get_by_role("heading", level=1)


def test_who_signed_in_sees_it_for_as_long_as_they_are(
    browser: Any, collector: RunningCollector, store: str
) -> None:
    with opened(browser, collector.url) as page:
        form = page.get_by_role("dialog", name="Sign in")
        expect(form).to_be_visible()
        expect(form.get_by_label("Name")).to_be_focused()
        expect(page.get_by_text("Market Square")).to_have_count(0)
        form.get_by_label("Name").fill("vic")
        form.get_by_label("Password").fill(OTHER)
        form.get_by_label("Password").press("Enter")
        expect(form.get_by_role("alert")).to_contain_text("the name or the password is wrong")
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_label("Password").press("Enter")
        expect(form).to_be_hidden()
        square = page.get_by_role("link", name="Market Square", exact=True)
        expect(square).to_be_visible()
        expect(page.locator("#user-name")).to_have_text("vic")
        expect(page.locator("#link-text")).to_have_text("up to date")
        expect(page.get_by_role("link", name="Users")).to_have_count(0)
        # An access token that is over is refreshed without a word.
        page.context.clear_cookies(name="stopline_access")
        page.reload()
        expect(square).to_be_visible()
        # Where the session was ended elsewhere, the form comes back.
        with psycopg.connect(store, autocommit=True) as connection:
            connection.execute("UPDATE refresh_tokens SET revoked_at = now()")
        page.context.clear_cookies(name="stopline_access")
        page.reload()
        expect(form).to_be_visible()
        form.get_by_label("Name").fill("ada")
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Users")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(form).to_be_visible()
        expect(page.get_by_text("Market Square")).to_have_count(0)


def test_the_list_is_turned_and_links_lead_there_and_back_by_keyboard(
    browser: Any, collector: RunningCollector
) -> None:
    with opened(browser, collector.url, user=ADA) as page:
        rows = page.locator(".list-side tbody tr")
        expect(rows).to_have_count(50)
        first = rows.first
        expect(first).to_contain_text("Cathedral")
        expect(first.locator(".state")).to_have_text("live")
        expect(first.locator("td").last).to_have_text("2")
        expect(rows.nth(2)).to_contain_text("never heard")
        # No count, and not zero.
        expect(rows.nth(2).locator("td").last).to_have_text("\u2013")
        # The whole way by keyboard: skip the bar, open a junction, and come back to where it was.
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#page")).to_be_focused()
        link = page.get_by_role("link", name="Market Square", exact=True).first
        for _ in range(20):
            page.keyboard.press("Tab")
            if link.evaluate("(element) => element === document.activeElement"):
                break
        page.evaluate("window.same = true")
        page.keyboard.press("Enter")
        expect(heading(page)).to_have_text("Market Square")
        expect(heading(page)).to_be_focused()
        expect(page).to_have_title("Market Square \u00b7 Stopline")
        page.go_back()
        expect(heading(page)).to_have_text("Junctions")
        expect(rows).to_have_count(50)
        assert page.evaluate("window.same"), "nothing was loaded anew"
        page.get_by_role("button", name="Next").click()
        expect(rows).to_have_count(N_SUBURB + 3 - 50)
        assert "offset=50" in page.url
        page.reload()
        expect(rows).to_have_count(N_SUBURB + 3 - 50)
        page.goto(f"{collector.url}/junctions/00000000-0000-0000-0000-000000000000")
        expect(heading(page)).to_have_text("Not found")
        page.goto(f"{collector.url}/junctions/no-id")
        expect(heading(page)).to_have_text("Not found")


def test_the_map_puts_together_what_is_close_and_opens_it(browser: Any, collector: RunningCollector) -> None:
    with opened(browser, collector.url, user=ADA) as page:
        field = page.get_by_role("application")
        assert field.evaluate("(map) => map.getBoundingClientRect().bottom") <= (
            page.locator(".map-buttons").evaluate("(buttons) => buttons.getBoundingClientRect().top")
        ), "a mark may lie below a button"
        cluster = field.get_by_role("button", name=f"{N_SUBURB} junctions: {N_SUBURB} never heard")
        expect(cluster).to_be_visible()
        square = field.get_by_role("link", name="Market Square, live")
        expect(square).to_be_visible()
        expect(page.get_by_text("1 without coordinates")).to_be_visible()
        scale = page.locator(".map-scale span").text_content()
        # South is below, and west to the left.
        west, east, north = (
            each.bounding_box() for each in (field.get_by_role("link", name="Cathedral, live"), square, cluster)
        )
        assert west["x"] < east["x"] < north["x"]
        assert west["y"] > east["y"] > north["y"]
        field.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        moved = square.bounding_box()
        assert (moved["x"], moved["y"]) == pytest.approx((east["x"] - 80, east["y"] - 80), abs=2)
        page.mouse.move(moved["x"] + 150, moved["y"] + 150)
        page.mouse.down()
        page.mouse.move(moved["x"] + 190, moved["y"] + 170, steps=3)
        page.mouse.up()
        dragged = square.bounding_box()
        assert (dragged["x"], dragged["y"]) == pytest.approx((moved["x"] + 40, moved["y"] + 20), abs=2)
        expect(heading(page)).to_have_text("Junctions")
        page.keyboard.press("0")
        cluster.click()
        # Nearer, it is several.
        expect(cluster).to_have_count(0)
        for _ in range(8):
            page.keyboard.press("+")
            assert page.evaluate(LEAST_APART_PX) >= 23.9, "one mark cannot be hit for another"
        expect(field.get_by_role("link", name="Suburb").first).to_be_visible()
        assert page.locator(".map-scale span").text_content() != scale
        # At one place they stay together, which is said.
        for _ in range(6):
            page.keyboard.press("+")
        field.get_by_role("button", name=f"{N_SUBURB - 4} junctions").click()
        expect(page.get_by_text("junctions stand at this place")).to_be_visible()
        field.focus()
        page.keyboard.press("0")
        # Going on by keys, the map follows.
        for key in ("+", "+", "Tab"):
            page.keyboard.press(key)
        expect(page.locator(".mark:focus")).to_be_visible()
        at, around = page.locator(".mark:focus").bounding_box(), field.bounding_box()
        assert around["x"] <= at["x"] <= around["x"] + around["width"] - at["width"]
        assert around["y"] <= at["y"] <= around["y"] + around["height"] - at["height"]
        field.focus()
        page.keyboard.press("0")
        expect(square).to_be_visible()
        square.click()
        expect(heading(page)).to_have_text("Market Square")


def test_the_list_is_filtered_and_sorted_by_the_collector(browser: Any, collector: RunningCollector) -> None:
    with opened(browser, collector.url, user=ADA) as page:
        rows = page.locator(".list-side tbody tr")
        page.get_by_role("searchbox").fill("MARKET")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("Market Square")
        expect(page.get_by_role("application").locator(".mark")).to_have_count(1)
        page.reload()
        expect(page.get_by_role("searchbox")).to_have_value("MARKET")
        expect(rows).to_have_count(1)
        page.get_by_role("searchbox").fill("")
        page.get_by_role("radio", name="Live").check()
        expect(rows).to_have_count(2)
        page.get_by_role("radio", name="All").check()
        page.get_by_role("button", name="Name").click()
        expect(rows.first).to_contain_text("Suburb 9")
        expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "descending")
        page.get_by_role("button", name="Today").click()
        page.get_by_role("button", name="Today").click()
        expect(rows.first.locator("td").last).to_have_text("2")
        page.get_by_role("searchbox").fill("nothing is named so")
        expect(page.get_by_text("No junction is like that.")).to_be_visible()
    # Who sees nothing yet is told what to do about it.
    with opened(browser, collector.url, user=("nina", PASSWORD)) as page:
        expect(page.get_by_text("You see no junction yet. An admin grants them")).to_be_visible()


def test_two_who_edit_a_junction_do_not_overwrite_each_other(browser: Any, collector: RunningCollector) -> None:
    with httpx.Client(base_url=collector.url) as other:
        other.headers.update(bearer(other))
        place = {"latitude": 52.5, "longitude": 13.4}
        made = other.post("/api/junctions", json={"name": "Old Mill", "location": place}).json()
        path = f"/api/junctions/{made['id']}"
        with opened(browser, f"{collector.url}/junctions/{made['id']}", user=ADA) as page:
            # By keyboard alone.
            page.get_by_role("button", name="Edit").focus()
            page.keyboard.press("Enter")
            form = page.get_by_role("dialog", name="Edit Old Mill")
            name, address = form.get_by_label("Name", exact=True), form.get_by_label("Address")
            expect(name).to_be_focused()
            address.fill("1 Mill Lane")
            form.get_by_label("Latitude").fill("95")
            page.keyboard.press("Enter")
            expect(form.get_by_label("Latitude")).to_be_focused()
            form.get_by_label("Latitude").fill("52.75")
            theirs = {"location": place | {"address": "2 Mill Lane", "longitude": 13.5}}
            other.patch(path, json=theirs | {"name": "New Mill"}).raise_for_status()
            page.keyboard.press("Enter")
            expect(form.get_by_role("alert")).to_contain_text("Somebody else has saved changes meanwhile")
            expect(address).to_have_value("1 Mill Lane")
            expect(form).to_contain_text("made this \u201c2 Mill Lane\u201d. Save again to have yours.")
            expect(name).to_have_value("New Mill")
            expect(form.get_by_label("Longitude")).to_have_value("13.5")
            assert other.get(path).json()["location"]["address"] == "2 Mill Lane"
            form.get_by_role("button", name="Save").press("Enter")
            expect(form).to_be_hidden()
            expect(heading(page)).to_have_text("New Mill")
            expect(page.get_by_role("button", name="Edit")).to_be_focused()
            told = other.get(path).json()
            assert told["name"] == "New Mill"
            assert told["location"] == {
                "name": "New Mill",
                "address": "1 Mill Lane",
                "latitude": 52.75,
                "longitude": 13.5,
            }
            lines = "1 Mill Lane\n12345 Old Town"
            other.patch(path, json={"location": place | {"address": lines}}).raise_for_status()
            page.keyboard.press("Enter")
            form = page.get_by_role("dialog", name="Edit New Mill")
            expect(form.get_by_label("Address")).to_have_value("1 Mill Lane, 12345 Old Town")
            form.get_by_label("Latitude").fill("52.8")
            page.keyboard.press("Enter")
            expect(form).to_be_hidden()
            assert other.get(path).json()["location"] | {"name": None} == {
                "name": None,
                "address": lines,
                "latitude": 52.8,
                "longitude": 13.4,
            }
            page.keyboard.press("Enter")
            expect(form).to_be_visible()
            other.patch(path, json={"metadata": {"note": "mill"}}).raise_for_status()
            for _ in range(2):
                form.get_by_role("button", name="Delete").press("Enter")
                page.get_by_role("dialog", name="Delete New Mill").get_by_role("button", name="Delete it").click()
                expect(form.get_by_role("alert")).to_contain_text("Changed meanwhile")
            page.keyboard.press("Escape")
            page.get_by_role("button", name="Edit").press("Enter")
            form.get_by_role("button", name="Delete").press("Enter")
            page.get_by_role("dialog", name="Delete New Mill").get_by_role("button", name="Delete it").click()
            expect(heading(page)).to_have_text("Junctions")
            expect(page.get_by_text("New Mill was deleted.")).to_be_visible()
            assert other.get(path).status_code == 404


@pytest.mark.parametrize(("scheme", "width_px"), [("light", 360), ("dark", 390), ("light", 1280)])
def test_the_list_fits_phones_and_both_schemes(
    browser: Any, collector: RunningCollector, scheme: str, width_px: int
) -> None:
    with opened(browser, collector.url, width_px=width_px, scheme=scheme, user=ADA) as page:
        expect(page.locator(".list-side tbody tr")).to_have_count(50)
        page.locator(".list-side tbody a").first.evaluate(
            f"(link) => {{ link.textContent = '{'Donauschiff' * 8}' }}"
        )
        hidden_px = page.locator(".list-side .scroll").evaluate("(list) => list.scrollWidth - list.clientWidth")
        assert hidden_px == 0, "a long name pushes columns out of sight"
        expect_fit(page, width_px)
        if width_px < 500:
            page.get_by_role("radio", name="Map").check()
            expect(page.get_by_role("application")).to_be_visible()
            expect(page.locator(".list-side")).to_be_hidden()
            expect_fit(page, width_px)
            # What is at the thumb can be hit.
            for link in page.locator(".places a:not([hidden])").all():
                assert link.bounding_box()["height"] >= 44
