"""An operator takes a junction's lights out of automatic and back, in a real browser; a Pi fetches the orders."""

from collections.abc import Iterator
from typing import Any

import pytest

from collector.identity.users import Role
from common.hires import Code, UnitFlash
from tests.acceptance.test_console_lights import FLASH, GREEN, NORTH, SOUTH, address, aspect, fact, lit
from tests.integration.test_remote import RemotePi
from tests.integration.test_users import PASSWORD, execute, make_user
from tests.junctions import crossroads
from tests.servers.browser import browser, expect_fit, opened, playwright
from tests.servers.collector import RunningCollector, running_collector
from tests.servers.databases import cloned_database
from tests.servers.postgres import PgServer

__all__ = ["browser"]

CONTROL = 155
AUTOMATIC, OVERRIDE = 6, 5
MONITOR, PREEMPT_ENTRY, PREEMPT_EXIT = UnitFlash.MONITOR, Code.PREEMPT_ENTRY, Code.PREEMPT_EXIT
expect = playwright.expect
REWORDED = """
async () => {
  const words = new Set();
  for (const end = performance.now() + 2_500; performance.now() < end; await new Promise(requestAnimationFrame)) {
    words.add(document.querySelector(".order-detail").textContent);
  }
  return [...words];
}
"""
"""What an order's detail says within two and a half seconds."""


@pytest.fixture(scope="module")
def store(plain_server: PgServer, database_names: Iterator[str]) -> Iterator[str]:
    with cloned_database(plain_server, next(database_names)) as dsn:
        make_user(dsn, "otto", Role.OPERATOR)
        make_user(dsn, "vic", Role.VIEWER)
        execute(dsn, "UPDATE users SET all_junctions = true")
        yield dsn


@pytest.fixture(scope="module")
def collector(store: str) -> Iterator[RunningCollector]:
    with running_collector(store, reading_open=False) as running:
        yield running


@pytest.fixture
def pi(store: str, collector: RunningCollector) -> RemotePi:
    pi = RemotePi(store, collector)
    pi.describe(crossroads())
    pi.tell((90_000, FLASH, 2), (90_000, CONTROL, AUTOMATIC))
    pi.tell((9_000, GREEN, NORTH), (9_000, GREEN, SOUTH))
    return pi


def field(page: Any, name: str) -> Any:
    return page.get_by_role("spinbutton", name=name, exact=True)


def step(page: Any, name: str) -> Any:
    return page.locator(".steps li", has_text=name)


def test_an_override_and_the_lights_that_follow(browser: Any, pi: RemotePi) -> None:
    with opened(browser, address(pi), user=("otto", PASSWORD)) as page:
        expect(fact(page, "Mode")).to_have_text("Automatic")
        page.get_by_role("button", name="Override").click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Override")).to_be_focused()
        page.keyboard.press("Enter")
        # What is not given is computed, and shown at once.
        expect(field(page, "east")).to_have_attribute("placeholder", "computed: 20")
        field(page, "Cycle").fill("70")
        expect(field(page, "east")).to_have_attribute("placeholder", "computed: 35")
        field(page, "north").fill("40")
        expect(field(page, "south")).to_have_value("40")
        expect(field(page, "west")).to_have_attribute("placeholder", "computed: 20")
        expect(page.locator(".plan-words").first).to_contain_text("ew 20")
        # What cannot be is told where it is asked for, by the collector's own words.
        field(page, "Cycle").fill("55")
        expect(page.locator(".preview .fault")).to_contain_text("stage ew would be green for 5 s")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        field(page, "Cycle").fill("70")
        expect(page.locator(".preview .fault")).to_have_count(0)
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_label("Why")).to_be_focused()
        page.get_by_label("Why").fill("the fair")
        page.get_by_role("button", name="Review").click()
        question = page.get_by_role("dialog", name="Manual override")
        expect(question).to_contain_text("A cycle of 70\u202fs")
        expect(question.get_by_role("listitem")).to_contain_text(
            ["north: 40\u202fs green", "east: 20\u202fs green (computed)"]
        )
        expect(question).to_contain_text("Why: the fair")
        question.get_by_role("button", name="Send it to the lights").click()

        expect(step(page, "Queued")).to_have_class("now")
        expect(page.locator(".order-detail")).to_contain_text("for the lights to fetch it, and is given up then")
        [command] = pi.fetched()
        expect(page.locator(".order-detail")).to_be_hidden()
        expect(step(page, "With the lights")).to_have_class("now")
        pi.say(command)
        pi.tell((0, CONTROL, OVERRIDE))
        expect(step(page, "In force")).to_have_class("done")
        running = page.get_by_role("region", name="In force")
        expect(running).to_contain_text("Manual override, ordered by otto since")
        expect(running).to_contain_text("the fair")
        expect(running.locator(".running-left")).to_contain_text("59:")
        pi.tell((0, 8, NORTH), (0, 10, NORTH), (0, 8, SOUTH), (0, 10, SOUTH), (0, GREEN, 4), (0, GREEN, 8))
        expect(aspect(page, "east")).to_have_text("green")
        assert lit(page) == ["red steady", "green steady", "red steady", "green steady"]
        expect(page.locator(".history tbody tr")).to_contain_text(["the fair"])

        running.get_by_role("button", name="Back to automatic").click()
        page.get_by_role("dialog").get_by_role("button", name="Back to automatic").click()
        expect(step(page, "Queued")).to_have_class("now")
        [command] = pi.fetched()
        pi.say(command)
        pi.tell((0, CONTROL, AUTOMATIC))
        expect(running).to_be_hidden()
        expect(fact(page, "Mode")).to_have_text("Automatic")
        expect(page.locator(".history tbody tr").first).to_contain_text("by another order")


def test_what_is_over_is_not_told_as_in_force_nor_what_never_began(browser: Any, pi: RemotePi, store: str) -> None:
    with opened(browser, address(pi), user=("otto", PASSWORD)) as page:

        def order(**more: Any) -> None:
            body = {
                "mode": "manual_override",
                "why": "the fair",
                "cycle_s": 70.0,
                "lane_green_s": {"north": 40.0},
            } | more
            token = page.evaluate("document.cookie.match(/stopline_csrf=([^;]+)/)[1]")
            url = f"{pi.collector.url}/api/junctions/{pi.junction}/mode"
            assert page.context.request.put(url, data=body, headers={"X-CSRF-Token": token}).ok

        expect(fact(page, "Mode")).to_have_text("Automatic")
        order(valid_s=3600)
        told = page.locator(".order-detail")
        expect(told).to_contain_text("Waits until")
        assert len(page.evaluate(REWORDED)) == 1, "once a second it was taken away, and told anew"
        execute(store, "UPDATE commands SET expires_at = now()")
        expect(step(page, "Came too late")).to_be_visible()
        expect(step(page, "With the lights")).to_be_hidden()
        order(expires_s=10.0)
        [command] = pi.fetched()
        pi.say(command)
        pi.tell((11_000, CONTROL, OVERRIDE))
        running = page.get_by_role("region", name="In force")
        expect(running).to_contain_text("Manual override, ordered by otto since")
        expect(running).to_contain_text("but the lights have not told so yet")
        expect(step(page, "In force")).to_be_visible()
        pi.tell((0, CONTROL, AUTOMATIC))
        expect(running).to_be_hidden()
        expect(step(page, "In force")).to_be_hidden()


def test_what_the_lights_refuse_is_told_in_their_words(browser: Any, pi: RemotePi) -> None:
    with opened(browser, address(pi), user=("otto", PASSWORD), width_px=390) as page:
        page.get_by_role("button", name="Override").click()
        page.get_by_role("radio", name="Flash red").check()
        expect(field(page, "Cycle")).to_be_hidden()
        page.get_by_label("Why").fill("works on the heads")
        expect_fit(page, 390)
        page.get_by_role("button", name="Review").click()
        question = page.get_by_role("dialog", name="Flashing")
        expect(question).to_contain_text("All lights flash red.")
        expect_fit(page, 390)
        question.get_by_role("button", name="Send it to the lights").click()
        expect(step(page, "Queued")).to_have_class("now")
        [command] = pi.fetched()
        pi.say(command, "refused", "the lights start up: ask again in 6 s")
        expect(step(page, "Refused")).to_be_visible()
        expect(page.get_by_text("the lights start up: ask again in 6 s")).to_be_visible()
        expect(fact(page, "Mode")).to_have_text("Automatic")
        expect_fit(page, 390)


def test_only_who_may_operate_is_offered_to_and_all_see_what_took_the_lights(
    browser: Any, pi: RemotePi, store: str
) -> None:
    execute(
        store,
        "INSERT INTO manual_override_history (junction_id, user_name, mode, ordered_at, ended_at, ended_by)"
        " VALUES (%s, 'otto', 'off', now() - interval '100 s', now() - interval '90 s', 'restart')",
        pi.junction,
    )
    pi.tell((80_000, PREEMPT_ENTRY, 3), (70_000, PREEMPT_EXIT, 3), (60_000, FLASH, MONITOR), (55_000, FLASH, 2))
    pi.tell((50_000, FLASH, MONITOR))
    with opened(browser, address(pi), user=("vic", PASSWORD)) as page:
        expect(fact(page, "Mode")).to_have_text("Flashing: the interlock stopped it")
        expect(page.get_by_role("button", name="Override")).to_have_count(0)
        told = page.locator(".history tbody tr")
        expect(told).to_contain_text(["in force", "the fault was over", "the vehicle had passed"])
        expect(told.nth(1)).to_contain_text("Flashingby a faultthe lights themselves\u20135\u202fs")
        expect(told.nth(2)).to_contain_text("Emergency vehiclepreemption 3\u201310\u202fs")
        expect(told.nth(3)).to_contain_text("not known whether it began")
        expect(page.get_by_role("region", name="In force")).to_contain_text("no order from here ends")


def test_what_was_typed_outlives_the_session_but_not_its_user(browser: Any, pi: RemotePi, store: str) -> None:
    def end_session() -> None:
        execute(store, "UPDATE refresh_tokens SET revoked_at = now()")
        page.context.clear_cookies(name="stopline_access")

    def click(selector: str) -> None:
        """Also where something that is read by itself found the session's end first, and the form stands there."""
        page.evaluate("(selector) => document.querySelector(selector).click()", selector)

    def sign_in(name: str) -> None:
        form = page.get_by_role("dialog", name="Sign in")
        expect(form.get_by_role("button", name="Cancel")).to_be_hidden()
        form.get_by_label("Name").fill(name)
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_role("button", name="Sign in").click()
        expect(form).to_be_hidden()

    with opened(browser, address(pi), user=("otto", PASSWORD)) as page:
        page.get_by_role("button", name="Override").click()
        field(page, "Cycle").fill("72")
        page.get_by_label("Why").fill("the fair")
        expect(page.locator(".preview-head")).to_contain_text("72")
        end_session()
        click(".override-form button[type=submit]")
        sign_in("otto")
        expect(page.locator(".preview .fault")).to_contain_text("The session had ended, and nothing was sent")
        expect(field(page, "Cycle")).to_have_value("72")
        expect(page.get_by_label("Why")).to_have_value("the fair")
        page.get_by_role("button", name="Review").click()
        expect(page.get_by_role("dialog", name="Manual override")).to_contain_text("A cycle of 72")
        page.keyboard.press("Escape")
        # What is asked meanwhile is answered to whoever signs in, and somebody else begins anew.
        end_session()
        click("[data-place='/analytics']")
        sign_in("otto")
        expect(page.locator(".pick a").first).to_be_visible()
        page.go_back()
        page.get_by_role("button", name="Override").click()
        page.get_by_label("Why").fill("the fair")
        end_session()
        click(".override-form button[type=submit]")
        sign_in("vic")
        expect(fact(page, "Mode")).to_have_text("Automatic")
        expect(page.get_by_label("Why")).to_have_count(0)
