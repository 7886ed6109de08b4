"""The collector's errors.

CollectorError
├── SettingError        a setting, file or argument cannot be used; the message names it and the mend (exit 78)
├── UnavailableError    something outside is not there: the database, a port, a folder (exit 69)
├── StoreError          the database cannot serve right now; trying again later is right (503)
└── ApiProblem          an answer of the HTTP API that is not a success (RFC 9457)

Whoever talks to a driver or the operating system translates its errors into these, with `from`. Only the roots,
`collector.cli` and `collector.app`, turn them into exit codes and responses.
"""

from collections.abc import Mapping
from typing import Any

from common.codes import ProblemCode

EXIT_UNAVAILABLE = 69
EXIT_SETTING = 78


class CollectorError(Exception):
    """Base of all errors of the collector."""

    exit_code = 1


class SettingError(CollectorError):
    """A setting, file or argument cannot be used as it is."""

    exit_code = EXIT_SETTING


class UnavailableError(CollectorError):
    """Something outside the collector is missing or out of reach."""

    exit_code = EXIT_UNAVAILABLE


class StoreError(CollectorError):
    """The database cannot serve right now. Whatever was asked for did not happen, or can safely be asked again."""

    exit_code = EXIT_UNAVAILABLE


class ApiProblem(CollectorError):
    """An RFC 9457 problem: what a request is answered with when it does not succeed.

    `members` are added to the problem's body; a member `retry_after_s` also becomes the header `Retry-After`.
    """

    def __init__(self, status: int, code: str, title: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.members: Mapping[str, Any] = members


_DEVICE_PROBLEMS: Mapping[ProblemCode, tuple[int, str]] = {
    ProblemCode.BATCH_MALFORMED: (400, "The batch cannot be read"),
    ProblemCode.BATCH_TOO_LARGE: (413, "The batch is too large"),
    ProblemCode.ENCODING_UNKNOWN: (400, "The content encoding is not known"),
    ProblemCode.VERSION_UNKNOWN: (400, "The protocol version is not known"),
    ProblemCode.SEQUENCE_GAP: (409, "Records are missing before this batch"),
    ProblemCode.TOKEN_MISSING: (401, "A device token is needed"),
    ProblemCode.TOKEN_INVALID: (401, "The device token is not valid"),
    ProblemCode.TOKEN_TIME: (401, "The device token's times do not fit"),
    ProblemCode.DEVICE_UNKNOWN: (403, "The device is not known"),
    ProblemCode.DEVICE_REVOKED: (403, "The device was revoked"),
    ProblemCode.DEVICE_MISMATCH: (403, "The batch belongs to another device"),
    ProblemCode.STREAMS_EXHAUSTED: (403, "The device has begun too many streams"),
    ProblemCode.OVERLOADED: (429, "The collector is busy"),
    ProblemCode.STORE_UNAVAILABLE: (503, "The store is not available"),
}


def device_problem(code: ProblemCode, detail: str, **members: Any) -> ApiProblem:
    """The problem that a device is answered with; status and title follow from `code`."""
    status, title = _DEVICE_PROBLEMS[code]
    return ApiProblem(status, code.value, title, detail, **members)
