"""What went wrong between agent and collector, in words that help the person who stands beside the Pi. Pure."""

import errno
import socket
import ssl
from collections.abc import Iterator

import httpx
import msgspec

from common.batch import Problem
from common.codes import ProblemCode


class Trouble(msgspec.Struct, frozen=True):
    """What happened, and what to do about it."""

    what: str
    mend: str


class SyncTrouble(Exception):
    """The collector could not be reached, or would not take what was sent. Everything is kept.

    Attributes:
        trouble: for people.
        slow: whether only people can mend it, so that asking often makes no sense.
        wait_s: how long the collector asks to wait.
    """

    def __init__(self, trouble: Trouble, *, slow: bool = False, wait_s: float | None = None) -> None:
        super().__init__(trouble.what)
        self.trouble = trouble
        self.slow = slow
        self.wait_s = wait_s


_EXPIRED, _NOT_YET_VALID, _HOSTNAME = 10, 9, 62
_UNTRUSTED = (2, 18, 19, 20, 21)

_REFUSALS: dict[ProblemCode, tuple[str, str]] = {
    ProblemCode.TOKEN_MISSING: (
        "the collector saw no token",
        "a proxy between agent and collector drops the Authorization header: have it passed on",
    ),
    ProblemCode.TOKEN_INVALID: (
        "the collector does not accept this device's signature",
        "enrol again: carry device.json to the collector and add it there",
    ),
    ProblemCode.TOKEN_TIME: (
        "the clocks of agent and collector do not fit",
        "see that the collector's clock is right (NTP); the agent follows it",
    ),
    ProblemCode.DEVICE_UNKNOWN: (
        "the collector does not know this device",
        "add it there: `stopline-collector device add device.json`",
    ),
    ProblemCode.DEVICE_REVOKED: (
        "this device was revoked at the collector",
        "activate it there again, or enrol this Pi anew",
    ),
    ProblemCode.DEVICE_MISMATCH: (
        "the device that signs is not the one that is sent for",
        "the identity files do not belong together: enrol again",
    ),
    ProblemCode.STREAMS_EXHAUSTED: (
        "this device has begun more outboxes than the collector takes from one",
        "see why its outbox does not last, as where its folder is emptied at each start; then enrol it anew",
    ),
    ProblemCode.VERSION_UNKNOWN: (
        "agent and collector speak different versions",
        "update the older of the two",
    ),
    ProblemCode.ENCODING_UNKNOWN: (
        "the collector does not know the compression",
        "update the collector",
    ),
    ProblemCode.BATCH_MALFORMED: (
        "the collector could not read a batch",
        "update agent and collector to the same version; if it stays, report it with the agent's log",
    ),
}


def explain_error(error: Exception, host: str) -> Trouble:
    """The trouble behind an exception of the HTTP client."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _explain_certificate(cause, host)
        if isinstance(cause, ssl.SSLError):
            return Trouble(
                f"no TLS with {host}: {cause.reason or cause}",
                "check that the address is one of a TLS port, and that no proxy stands in between",
            )
        if isinstance(cause, socket.gaierror):
            return Trouble(
                f"the name {host} cannot be looked up: {cause.strerror or cause}",
                "check the address for typing errors, and this Pi's network and DNS",
            )
        if isinstance(cause, OSError) and cause.errno in _OS_ERRORS:
            what, mend = _OS_ERRORS[cause.errno]
            return Trouble(what.format(host=host), mend)
    if isinstance(error, httpx.ConnectTimeout):
        return Trouble(f"{host} does not answer", "check the network and the firewalls in between")
    if isinstance(error, httpx.TimeoutException):
        return Trouble(f"{host} answers too late", "the collector or the network is overloaded; it is tried again")
    if isinstance(error, httpx.ConnectError) and "All connection attempts failed" in str(error):
        return Trouble(*_refused(host))
    told = str(error).rstrip(".") or type(error).__name__
    return Trouble(f"the connection to {host} failed: {told}", "it is tried again")


def explain_answer(status: int, problem: Problem | None, host: str) -> Trouble:
    """The trouble behind an answer that is not an acknowledgement."""
    if problem is not None and problem.code in _REFUSALS:
        what, mend = _REFUSALS[problem.code]
        return Trouble(f"{what} ({problem.detail})", mend)
    if problem is not None:
        return Trouble(f"{host} answers {status}: {problem.detail}", "it is tried again")
    if status in (401, 403, 407):
        return Trouble(
            f"{host} answers {status}", "a proxy in between asks for credentials: let the agent through"
        )
    if status == 413:
        return Trouble(f"{host} answers 413", "a proxy limits the size of requests: allow 8 MiB for the agents")
    if 300 <= status < 400:
        return Trouble(f"{host} redirects", "give the agent the collector's final address")
    if status == 404 or 200 <= status < 300:
        return Trouble(
            f"what answers at {host} is no Stopline collector ({status})",
            "check the address, and that no login page of the network stands in between",
        )
    return Trouble(f"{host} answers {status}", "look at the collector's log; it is tried again")


def _explain_certificate(error: ssl.SSLCertVerificationError, host: str) -> Trouble:
    code, why = error.verify_code, error.verify_message
    if code == _EXPIRED:
        return Trouble(f"the certificate of {host} has expired", "renew it; or this Pi's clock runs ahead")
    if code == _NOT_YET_VALID:
        return Trouble(f"the certificate of {host} is not valid yet", "this Pi's clock is behind: check NTP")
    if code in _UNTRUSTED:
        return Trouble(
            f"the certificate of {host} comes from nobody that this Pi trusts ({why})",
            "set ca_file to the certificate of the authority that issued it",
        )
    if code == _HOSTNAME:
        return Trouble(f"the certificate is not one of {host} ({why})", "use the name that it was issued for")
    return Trouble(f"the certificate of {host} is refused ({why})", "check the collector's certificate")


def _refused(host: str) -> tuple[str, str]:
    return f"{host} refuses connections", "check that the collector runs, and the port"


_OS_ERRORS: dict[int, tuple[str, str]] = {
    errno.ECONNREFUSED: _refused("{host}"),
    errno.ENETUNREACH: ("there is no network", "check cable, Wi-Fi or modem of this Pi"),
    errno.EHOSTUNREACH: ("{host} cannot be reached", "check the network between this Pi and the collector"),
    errno.ETIMEDOUT: ("{host} does not answer", "check the network and the firewalls in between"),
    errno.ECONNRESET: (
        "{host} broke the connection off",
        "a firewall or proxy may be in between; it is tried again",
    ),
}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it, those within groups of connection attempts as well."""
    todo, seen = [error], set[int]()
    while todo:
        at = todo.pop()
        if id(at) in seen:
            continue
        seen.add(id(at))
        yield at
        todo += [cause for cause in (at.__cause__, at.__context__) if cause is not None]
        if isinstance(at, BaseExceptionGroup):
            todo += at.exceptions
