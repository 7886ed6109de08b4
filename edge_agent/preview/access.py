"""Who may see the picture: the local network only, with a code from the terminal. Pure: time is an argument."""

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

CODE_DIGITS = 8
"""Digits, since a phone has a keypad for them."""
IDLE_S = 15 * 60.0
"""A session of which nobody made use for so long is over."""
MAX_WRONG = 10
"""After so many wrong codes the code itself is void."""
_MAX_WAIT_S = 30.0
_MAX_SESSIONS = 8
_COOKIE = "stopline_preview"


def is_near(address: str) -> bool:
    """Whether an IP address belongs to this machine or to a network that the internet cannot reach."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    ip = mapped or ip
    return (ip.is_private or ip.is_loopback or ip.is_link_local) and not ip.is_unspecified


def is_own_host(header: str, own_names: Iterable[str]) -> bool:
    """Whether a `Host` header names this machine as people on its network call it.

    A page of another site can have its own name lead to our address (DNS rebinding); its name then stands here.
    """
    try:
        host = urlsplit(f"//{header}").hostname
    except ValueError:
        return False
    if not host:
        return False
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost" or host.endswith(".local") or host in {name.lower() for name in own_names}
    return True


def is_same_origin(origin: str | None, host: str, fetch_site: str | None) -> bool:
    """Whether a request that changes something comes from our own page.

    Args:
        origin, host, fetch_site: its `Origin`, `Host` and `Sec-Fetch-Site` headers.
    """
    return origin == f"http://{host}" and fetch_site in (None, "same-origin")


class Refused(Exception):
    """A code was not accepted. The text says why, and what to do."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Access:
    """One-time codes and the sessions that they open.

    Each wrong code doubles the time for which no other is looked at; whoever tries them in turn gets nowhere.
    """

    def __init__(self, *, new_code: Callable[[], str] | None = None) -> None:
        self._new_code = new_code or _random_code
        self._sessions: dict[bytes, float] = {}
        self._code: str | None = self._new_code()
        self._n_wrong = 0
        self._locked_until_s = 0.0

    @property
    def code(self) -> str | None:
        """The code that opens the next session; None once it was used."""
        return self._code

    def renew(self) -> str:
        """A new code; the one before is void."""
        self._code = self._new_code()
        self._n_wrong = 0
        return self._code

    def exchange(self, code: str, now_s: float) -> str:
        """Open a session; returns its secret, for the cookie.

        Raises:
            Refused: the code is wrong or used up, or it is too early to try again.
        """
        if now_s < self._locked_until_s:
            raise Refused("too many wrong codes; wait a moment", self._locked_until_s - now_s)
        if self._code is None:
            raise Refused("the code was used already; the terminal shows how to get a new one")
        typed = "".join(char for char in code if char.isdigit())
        if not hmac.compare_digest(typed.encode(), self._code.encode()):
            raise self._note_wrong(now_s)
        self._code, self._n_wrong = None, 0
        secret = secrets.token_urlsafe(32)
        while len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[min(self._sessions, key=self._sessions.__getitem__)]
        self._sessions[_digest(secret)] = now_s
        return secret

    def _note_wrong(self, now_s: float) -> Refused:
        self._n_wrong += 1
        wait_s = min(_MAX_WAIT_S, 0.5 * 2.0**self._n_wrong)
        self._locked_until_s = now_s + wait_s
        if self._n_wrong < MAX_WRONG:
            return Refused("the code is wrong; it stands in the terminal", wait_s)
        self._code = None
        return Refused(f"{MAX_WRONG} wrong codes: the code is void; a new one stands in the terminal", wait_s)

    def is_open(self, secret: str | None, now_s: float, *, active: bool) -> bool:
        """Whether a session goes on.

        Args:
            active: whether somebody makes use of it with this request; a page that lies open renews itself, too.
        """
        digest = _digest(secret or "")
        used_s = self._sessions.get(digest)
        if used_s is None:
            return False
        if now_s - used_s > IDLE_S:
            del self._sessions[digest]
            return False
        if active:
            self._sessions[digest] = now_s
        return True

    def is_shut(self, now_s: float) -> bool:
        """Whether nobody is in and nobody can come in, so that a new code is due."""
        return self._code is None and not any(now_s - used_s <= IDLE_S for used_s in self._sessions.values())


def set_cookie(secret: str) -> str:
    """The value of `Set-Cookie`. It ends with the browser; `Secure` would need TLS, which an address has not."""
    return f"{_COOKIE}={secret}; Path=/; HttpOnly; SameSite=Strict"


def secret_of(cookies: str | None) -> str | None:
    """The session's secret in a `Cookie` header."""
    for part in (cookies or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == _COOKIE:
            return value
    return None


def _random_code() -> str:
    return "".join(secrets.choice("0123456789") for _ in range(CODE_DIGITS))


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
