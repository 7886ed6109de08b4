"""What a preview prints."""

import io
import ipaddress

import pytest

from edge_agent.preview.access import is_near
from edge_agent.preview.terminal import own_addresses, show_code, url


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("address", "shown"),
    [("192.168.1.7", "http://192.168.1.7:8378/"), ("fd00::7", "http://[fd00::7]:8378/")],
)
def test_addresses(address: str, shown: str) -> None:
    assert url(address, 8378) == shown
    # After the #: no browser sends it to any server, and no log holds it.
    assert url(address, 8378, "12345678") == shown + "#code=12345678"


def test_own_addresses_are_those_of_the_network() -> None:
    assert own_addresses("192.168.1.7") == ["192.168.1.7"]
    for host in ("0.0.0.0", "::"):
        found = own_addresses(host)
        assert found
        assert all(is_near(address) for address in found)
    assert all(ipaddress.ip_address(address).version == 4 for address in own_addresses("0.0.0.0"))


def test_in_a_terminal_there_is_a_picture_to_scan() -> None:
    plain, terminal = io.StringIO(), Terminal()
    for out in (plain, terminal):
        show_code("12345678", ["192.168.1.7", "10.0.0.1"], 8378, out)
    for text in (plain.getvalue(), terminal.getvalue()):
        assert "1234 5678" in text
        assert "http://192.168.1.7:8378/#code=12345678" in text
        assert "http://10.0.0.1:8378/#code=12345678" in text
    assert "\u2580" not in plain.getvalue()
    assert "\u2580" in terminal.getvalue() or "\u2584" in terminal.getvalue()
    assert max(map(len, terminal.getvalue().splitlines())) < 120
