"""The console where readers have to sign in, in a real browser."""

from collections.abc import Iterator

import psycopg
import pytest

from collector.identity.users import Role
from tests.acceptance.test_console_page import Street, browser, opened
from tests.integration.test_users import OTHER, PASSWORD, make_user
from tests.servers.collector import RunningCollector, running_collector

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
expect = playwright.expect

__all__ = ["browser"]


@pytest.fixture
def collector(plain_dsn: str) -> Iterator[RunningCollector]:
    make_user(plain_dsn, "ada", Role.VIEWER, all_junctions=True)
    with running_collector(plain_dsn, reading_open=False) as running:
        yield running


def test_counts_are_shown_to_who_signed_in_for_as_long_as_they_are(
    browser: object, collector: RunningCollector, plain_dsn: str
) -> None:
    street = Street(plain_dsn, collector.url, "pi", "Market Square")
    street.count("car")
    with opened(browser, collector.url) as page:
        form = page.get_by_role("dialog", name="Sign in")
        expect(form).to_be_visible()
        expect(form.get_by_label("Name")).to_be_focused()
        expect(page.get_by_text("Market Square")).to_have_count(0)
        form.get_by_label("Name").fill("ada")
        form.get_by_label("Password").fill(OTHER)
        form.get_by_label("Password").press("Enter")
        expect(form.get_by_role("alert")).to_contain_text("the name or the password is wrong")
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_label("Password").press("Enter")
        expect(form).to_be_hidden()
        expect(page.get_by_role("heading", name="Market Square")).to_be_visible()
        expect(page.locator("#user-name")).to_have_text("ada")
        expect(page.locator("#link-text")).to_have_text("live")
        # An access token that is over is refreshed without a word.
        page.context.clear_cookies(name="stopline_access")
        page.reload()
        expect(page.get_by_role("heading", name="Market Square")).to_be_visible()
        # Where the session was ended elsewhere, the form comes back.
        with psycopg.connect(plain_dsn, autocommit=True) as connection:
            connection.execute("UPDATE refresh_tokens SET revoked_at = now()")
        page.context.clear_cookies(name="stopline_access")
        page.reload()
        expect(form).to_be_visible()
        form.get_by_label("Name").fill("ada")
        form.get_by_label("Password").fill(PASSWORD)
        form.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").click()
        expect(form).to_be_visible()
        expect(page.get_by_text("Market Square")).to_have_count(0)
