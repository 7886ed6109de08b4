"""An operator orders a junction in a browser; a real agent takes the order to real lights, and they follow."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from collector.identity.users import Role
from tests.integration.test_orders_from_afar import Street
from tests.integration.test_users import PASSWORD, make_user
from tests.servers.browser import browser, opened, playwright

__all__ = ["browser"]

expect = playwright.expect


@pytest.mark.long
def test_an_override_goes_the_whole_way_and_back(browser: Any, plain_dsn: str, tmp_path: Path) -> None:
    with ExitStack() as ends:
        street = Street(plain_dsn, tmp_path, ends)
        make_user(plain_dsn, "otto", Role.OPERATOR, all_junctions=True)
        url = f"{street.collector.url}/junctions/{street.junction}"
        with opened(browser, url, user=("otto", PASSWORD)) as page:
            page.get_by_role("button", name="Override").click()
            page.get_by_label("Why").fill("the fair")
            page.get_by_role("button", name="Review").click()
            page.get_by_role("button", name="Send it to the lights").click()
            expect(page.locator(".steps li", has_text="In force")).to_have_class("done")
            in_force = page.get_by_role("region", name="In force")
            expect(in_force).to_contain_text("ordered by otto")
            page.get_by_role("button", name="Back to automatic").click()
            page.get_by_role("dialog").get_by_role("button", name="Back to automatic").click()
            expect(in_force).to_be_hidden()
