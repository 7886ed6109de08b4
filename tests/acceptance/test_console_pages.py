"""The console's pages of devices, users and the account, in a real browser on one collector."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from collector.identity.users import Role
from tests.integration.facts import Facts
from tests.integration.test_fleet_devices import a_day, add_device, heard
from tests.integration.test_users import OTHER, PASSWORD, execute, make_user
from tests.servers.browser import browser, expect_fit, opened, playwright
from tests.servers.collector import running_collector
from tests.servers.databases import cloned_database
from tests.servers.postgres import PgServer

expect = playwright.expect

__all__ = ["browser"]

SHORT_PX, PHONE_PX = 1280, 390


@dataclass(frozen=True)
class City:
    """A collector with three junctions: all is well at one, one has troubles, and one is silent."""

    url: str
    dsn: str
    troubled: Facts
    well: Facts


@pytest.fixture(scope="module")
def city(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[City]:
    with cloned_database(plain_server, next(database_names)) as dsn:
        make_user(dsn, "Ada", Role.ADMIN)
        troubled = a_day(dsn)
        execute(dsn, "UPDATE junctions SET name = 'Market <b>Square</b>' WHERE name = %s", troubled.junction)
        execute(dsn, "UPDATE edge_devices SET name = 'pi market' WHERE id = %s", troubled.device)
        well = Facts(dsn, junction="Harbour Gate")
        heard(well, "pi harbour", timedelta())
        heard(Facts(dsn, junction="Old Bridge"), "pi bridge", timedelta(hours=7))
        add_device(dsn, "pi new")
        with running_collector(dsn, reading_open=False) as running:
            yield City(running.url, dsn, troubled, well)


def signed_in(browser: Any, url: str, path: str, name: str = "Ada", **how: Any) -> Any:
    """The page at a path, as somebody."""
    return opened(browser, url + path, user=(name, PASSWORD), **how)


def row(page: Any, name: str) -> Any:
    return page.locator("tbody tr", has=page.get_by_role("rowheader", name=name))


def test_devices_tell_in_words_what_is_wrong_and_what_to_do(browser: Any, city: City) -> None:
    # Now, and not when the first test of the city began: after five minutes they are silent.
    heard(city.troubled, "pi market", timedelta())
    heard(city.well, "pi harbour", timedelta())
    with signed_in(browser, city.url, "/devices") as page:
        expect(row(page, "pi bridge")).to_contain_text("silent")
        expect(row(page, "pi bridge")).to_contain_text("7\u202fh ago")
        expect(row(page, "pi harbour")).to_contain_text("healthy")
        expect(row(page, "pi harbour")).to_contain_text("all well")
        expect(row(page, "pi new")).to_contain_text("never heard")
        expect(row(page, "pi market")).to_contain_text("reader 1 cannot be reached")
        expect(row(page, "pi market")).to_contain_text("40 add up")
        page.get_by_label("Silent").check()
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_label("All", exact=True).check()
        page.get_by_label("Search").fill("square")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_role("link", name="pi market").click()
        expect(page.get_by_role("heading", name="pi market")).to_be_focused()
        assert page.locator("main b").count() == 0, "names are text"
        care = page.locator(".care")
        expect(care).to_contain_text("reader 1 cannot be reached")
        expect(care).to_contain_text("Check its power, cable and address")
        expect(care).to_contain_text("5 records lost in the last day")
        expect(page.get_by_text("The outbox was full: 5 records of 1\u202fs lost.")).to_have_count(2)
        rejects = page.locator(".rejects li")
        expect(rejects).to_have_count(2)
        expect(rejects.first).to_contain_text("at: is missing")
        expect(rejects.first).to_contain_text("It is not a record as the collector knows them")
        expect(rejects.last).to_contain_text("may name the tag of a vehicle")
        page.get_by_role("button", name="Show what is withheld").click()
        rejects.last.get_by_text("As it came").click()
        expect(rejects.last.locator("pre")).to_have_text('["count", 30]')
        expect(care).to_contain_text("2 records put aside")
        page.get_by_role("button", name="Mark all as seen").click()
        expect(care).not_to_contain_text("put aside")
        page.get_by_role("button", name="Name and place").click()
        page.get_by_role("textbox", name="Name").fill("pi market south")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", name="pi market south")).to_be_visible()


def test_what_is_confirmed_and_not_sent_again_is_as_of_now(browser: Any, city: City) -> None:
    with signed_in(browser, city.url, "/devices?q=bridge") as page:
        told = page.evaluate(
            """async () => {
              const base = document.querySelector("script[type=module]").src.replace("main.js", "");
              const { ask } = await import(base + "shell/fetching.js");
              const query = { q: "bridge" };
              const first = await ask("/api/fleet/devices", { query });
              let last = first;
              while (last.as_of === first.as_of && performance.now() < 30_000) {
                await new Promise((done) => setTimeout(done, 50));
                last = await ask("/api/fleet/devices", { query });
              }
              const all = performance.getEntriesByType("resource");
              const sent = all.filter((one) => one.name.endsWith("?q=bridge"));
              return [first, last, sent.map((one) => one.transferSize < one.decodedBodySize)];
            }"""
        )
        first, last, confirmed = told
        assert (confirmed[0], all(confirmed[1:])) == (False, True)
        asked_at, confirmed_at = (datetime.fromisoformat(answer.pop("as_of")) for answer in (first, last))
        assert first == last
        assert confirmed_at > asked_at


def test_somebody_is_invited_registers_and_sees_what_was_granted_alone(browser: Any, city: City) -> None:
    with signed_in(browser, city.url, "/users") as page:
        page.get_by_role("button", name="Invite").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Role").select_option("operator")
        dialog.get_by_role("button", name="Make a link").click()
        link = dialog.get_by_label("Link").input_value()
        dialog.get_by_role("button", name="Done").click()
        expect(page.get_by_role("button", name="Take back")).to_have_count(1)
        with opened(browser, link) as theirs:
            theirs.locator("main").get_by_label("Name").fill("otto")
            assert theirs.url.endswith("/register"), "the invitation stands in nobody's history"
            theirs.locator("main").get_by_label("Password").fill(PASSWORD)
            theirs.get_by_role("button", name="Register").click()
            theirs.wait_for_url(city.url + "/")
            theirs.goto(city.url + "/devices")
            expect(theirs.get_by_text("No device stands at the junctions that you see.")).to_be_visible()

            page.reload()
            page.get_by_role("link", name="otto").click()
            expect(page.get_by_role("heading", name="otto")).to_be_visible()
            page.get_by_role("combobox", name="Junction").fill("Old Bridge")
            page.get_by_label("Access", exact=True).select_option("operate")
            page.get_by_role("button", name="Grant").click()
            expect(row(page, "Old Bridge")).to_contain_text("may operate it")
            expect(page.locator(".deeds li").first).to_contain_text("Ada granted a junction to otto")

            theirs.reload()
            expect(theirs.locator("tbody tr")).to_have_count(1)
            expect(row(theirs, "pi bridge")).to_be_visible()
            expect(theirs.get_by_role("link", name="Users")).to_have_count(0)
            page.get_by_role("button", name="Disable").click()
            page.get_by_role("dialog").get_by_role("button", name="Disable").click()
            expect(page.locator(".state").first).to_have_text("disabled")
            theirs.reload()
            expect(theirs.get_by_role("dialog", name="Sign in")).to_be_visible()


def test_the_account_changes_a_password_and_makes_tokens(browser: Any, city: City) -> None:
    make_user(city.dsn, "vic", Role.VIEWER)
    with signed_in(browser, city.url, "/account", "vic") as page:
        expect(page.get_by_text("No junction yet.")).to_be_visible()
        page.get_by_label("For what").fill("export")
        page.get_by_role("button", name="Make a token").click()
        token = page.get_by_label("Token", exact=True).input_value()
        headers = {"Authorization": f"Bearer {token}"}
        with browser.new_context() as nobody:
            me = f"{city.url}/api/users/me"
            assert nobody.request.get(me, headers=headers).json()["name"] == "vic"
            page.get_by_role("button", name="Revoke export").click()
            page.get_by_role("dialog").get_by_role("button", name="Revoke it").click()
            expect(page.get_by_text("There is none.")).to_be_visible()
            assert nobody.request.get(me, headers=headers).status == 401
        page.get_by_label("Present password").fill(PASSWORD)
        page.get_by_label("New password").fill(OTHER)
        page.get_by_role("button", name="Change it").click()
        expect(page.get_by_text("The password is changed.")).to_be_visible()
        page.goto(city.url + "/users")
        expect(page.get_by_text("Only admins see who there is")).to_be_visible()


@pytest.mark.parametrize(("width_px", "scheme"), [(PHONE_PX, "dark"), (SHORT_PX, "light")])
def test_the_pages_fit_phones_and_can_be_read(browser: Any, city: City, width_px: int, scheme: str) -> None:
    paths = ["/devices", f"/devices/{city.troubled.device}", "/users", "/account"]
    with signed_in(browser, city.url, paths[0], width_px=width_px, scheme=scheme) as page:
        for path in paths:
            page.goto(city.url + path, wait_until="networkidle")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect_fit(page, width_px)


def test_the_library_of_charts_is_kept_by_its_release(city: City) -> None:
    with httpx.Client(base_url=city.url) as client:
        leads = client.get("/plotly.js")
        assert (leads.status_code, leads.headers["cache-control"]) == (302, "no-cache")
        file = client.get(leads.headers["location"])
        assert file.headers["content-type"].startswith("text/javascript")
        assert file.headers["content-encoding"] == "gzip"
        assert "immutable" in file.headers["cache-control"]
        assert "plotly.js v" in file.text[:200]
        known = {"If-None-Match": file.headers["etag"]}
        assert client.get(leads.headers["location"], headers=known).status_code == 304
        assert client.get("/plotly/0.0.1/plotly.js").status_code == 404
        assert "unsafe" not in client.get("/analytics/x").headers["content-security-policy"]
