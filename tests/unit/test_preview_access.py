"""Who may see the picture: codes, sessions, addresses, names."""

import pytest

from edge_agent.preview.access import (
    IDLE_S,
    MAX_WRONG,
    Access,
    Refused,
    is_near,
    is_own_host,
    is_same_origin,
    secret_of,
    set_cookie,
)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "192.168.1.7", "10.0.0.1", "172.16.3.4", "169.254.9.9", "fe80::1%eth0", "fd00::5",
     "::ffff:192.168.1.7"],
)  # fmt: skip
def test_the_local_network_may_come(address: str) -> None:
    assert is_near(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "2001:4860::1",
        "::ffff:8.8.8.8",
        "100.64.0.1",
        "0.0.0.0",
        "::",
        "",
        "unix",
        "10.0.0",
    ],
)
def test_the_internet_may_not(address: str) -> None:
    assert not is_near(address)


@pytest.mark.parametrize(
    "host",
    ["192.168.1.7:8378", "127.0.0.1", "[::1]:8378", "[fe80::1%25eth0]:8378", "localhost:8378", "pi.local:8378",
     "Raspi:8378", "raspi"],
)  # fmt: skip
def test_own_names(host: str) -> None:
    assert is_own_host(host, ["raspi"])


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8378", "local", "xlocal", "raspi.evil.example", "[::1"]
)
def test_names_that_could_lead_here_are_not_ours(host: str) -> None:
    assert not is_own_host(host, ["raspi"])


def test_origin() -> None:
    host = "192.168.1.7:8378"
    assert is_same_origin(f"http://{host}", host, "same-origin")
    assert is_same_origin(f"http://{host}", host, None)
    for origin, site in (
        (None, "same-origin"), ("null", None), ("http://192.168.1.7", None), ("https://evil.example", None),
        (f"http://{host}", "cross-site"), (f"http://{host}", "same-site"),
    ):  # fmt: skip
        assert not is_same_origin(origin, host, site)


def gate() -> Access:
    codes = iter(f"{n:08d}" for n in range(1, 100))
    return Access(new_code=lambda: next(codes))


def test_a_code_opens_one_session() -> None:
    door = gate()
    secret = door.exchange("0000 0001", 0.0)
    assert door.is_open(secret, 1.0, active=True)
    assert not door.is_open("something else", 1.0, active=True)
    assert not door.is_open(None, 1.0, active=True)
    with pytest.raises(Refused, match="used already"):
        door.exchange("00000001", 2.0)
    assert not door.is_shut(2.0)
    assert door.renew() == "00000002"
    assert door.is_open(door.exchange("00000002", 3.0), 3.0, active=True)


def test_a_session_ends_when_nobody_makes_use_of_it() -> None:
    door = gate()
    secret = door.exchange("00000001", 0.0)
    assert door.is_open(secret, IDLE_S, active=True)
    assert door.is_open(secret, 2 * IDLE_S, active=False)
    assert not door.is_shut(2 * IDLE_S)
    # A page that lies open and renews itself is no use.
    assert door.is_shut(2 * IDLE_S + 1)
    assert not door.is_open(secret, 2 * IDLE_S + 1, active=False)
    assert not door.is_open(secret, 0.0, active=True)


def test_wrong_codes_wait_longer_and_longer_and_void_the_code() -> None:
    door, now_s, waits_s = gate(), 0.0, []
    for _ in range(MAX_WRONG):
        with pytest.raises(Refused) as wrong:
            door.exchange("99999999", now_s)
        waits_s.append(wrong.value.wait_s)
        with pytest.raises(Refused, match="wait"):
            door.exchange("00000001", now_s + 0.9 * wrong.value.wait_s)
        now_s += wrong.value.wait_s
    assert waits_s == [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    assert door.code is None
    assert door.is_shut(now_s)
    with pytest.raises(Refused):
        door.exchange("00000001", now_s)
    assert door.is_open(door.exchange(door.renew(), now_s), now_s, active=False)


@pytest.mark.parametrize("typed", ["", " ", "abc", "0000000", "000000010", "\u0661"])
def test_what_is_no_code(typed: str) -> None:
    with pytest.raises(Refused):
        gate().exchange(typed, 0.0)


def test_sessions_are_few() -> None:
    door = gate()
    secrets = [door.exchange(door.code or door.renew(), float(n)) for n in range(20)]
    assert [door.is_open(secret, 20.0, active=False) for secret in secrets] == [False] * 12 + [True] * 8


def test_codes_are_random_digits() -> None:
    codes = {Access().code or "" for _ in range(50)}
    assert len(codes) == 50
    assert all(len(code) == 8 and code.isdigit() for code in codes)


def test_the_cookie_comes_back() -> None:
    cookie = set_cookie("s3cret")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert secret_of("other=1; " + cookie.split(";")[0]) == "s3cret"
    assert secret_of("x_stopline_preview=1") is None
    assert secret_of(None) is None
