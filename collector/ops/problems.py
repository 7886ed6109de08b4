"""Every answer that is not a success is an RFC 9457 problem, with a `code` to act on and the request's id."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

import msgspec
import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.typing import FieldDefinition

from collector.errors import ApiProblem
from collector.ops.bodies import json_of
from collector.ops.clock import unix_ms
from common.junction_shape import Fault, choices, in_words, shape_faults

_log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
REQUEST_ID_HEADER = "X-Request-ID"

_MISSING = re.compile(r"Missing required query parameter '(\w+)'")
_BODY = "body"
_MOST_FAULTS = 20
_BAD_CHARACTER = (
    "has a character that is not taken here, such as a blank at its beginning or end, or one that cannot be seen"
)

AnyRequest = Request[Any, Any, Any]


class ProblemBody(msgspec.Struct, frozen=True):
    """RFC 9457 problem details, as people's programs get them."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    """To act on."""
    server_time: int
    """In ms since 1970."""
    request_id: str | None = None
    errors: list[dict[str, Any]] = []
    """One by one: `key` says where, `message` what is wrong, and what would be right."""


def problem_specs(told: Mapping[int, str], *statuses: int) -> dict[int, ResponseSpec]:
    """For the `responses` of a route: 400, which all have, and `statuses` with what `told` says of each."""
    texts = {400: "A parameter or the body is not what it has to be."} | {
        status: told[status] for status in statuses
    }
    return {
        status: ResponseSpec(ProblemBody, description=text, media_type=PROBLEM_TYPE, generate_examples=False)
        for status, text in texts.items()
    }


def problem_response(problem: ApiProblem, request_id: str | None = None) -> Response[bytes]:
    """The response that a problem is told with."""
    body: dict[str, Any] = {
        "type": f"urn:stopline:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "server_time": unix_ms(),
        **problem.members,
    }
    if request_id:
        body["request_id"] = request_id
    headers = {}
    if "retry_after_s" in problem.members:
        headers["Retry-After"] = str(max(1, round(problem.members["retry_after_s"])))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    content = msgspec.json.encode(body)
    return Response(content, status_code=problem.status, media_type=PROBLEM_TYPE, headers=headers)


def on_problem(request: AnyRequest, problem: ApiProblem) -> Response[bytes]:
    """For problems raised by our own code."""
    return problem_response(problem, request_id(request))


def on_http_exception(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """For what the framework refuses: no such path, no such method, parameters that do not fit."""
    status = HTTPStatus(error.status_code)
    members: dict[str, Any] = {}
    detail = str(error.detail)
    allowed = (error.headers or {}).get("allow")
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        found = (_faults(request, one) for one in error.extra if isinstance(one, dict))
        members["errors"] = [fault for faults in found for fault in faults]
    elif missing := _MISSING.match(detail):
        members["errors"] = [_missing(request, missing[1])]
    if members:
        detail = "; ".join(f"{one['key']}: {one['message']}" for one in members["errors"]) or detail
    if status is HTTPStatus.NOT_FOUND and detail == status.phrase:
        detail = "there is nothing at this path; /schema/openapi.json tells what there is"
    if status is HTTPStatus.METHOD_NOT_ALLOWED and allowed:
        detail = f"{request.method} is not answered at this path, but {allowed}"
    code = status.name.lower()
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        members["retry_after_s"] = float((error.headers or {}).get("RateLimit-Reset", 60.0))
        detail = "so many requests a minute are not taken; ask for more at a time, or listen to /api/live"
    problem = ApiProblem(error.status_code, code, status.phrase, detail or status.phrase, **members)
    response = problem_response(problem, request_id(request))
    if allowed:
        response.headers["Allow"] = allowed
    return response


def _faults(request: AnyRequest, told: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """What is wrong with the body or a parameter, by the name that it has in requests, and what it may be, where
    that is one of few."""
    key, wrong = str(told.get("key", _BODY)), str(told.get("message", ""))
    parameters = request.route_handler.parsed_fn_signature.parameters
    if told.get("source") == "body":
        yield from _faults_of_body(request, parameters["data"], told)
        return
    alias, parameter = _parameter(request, key)
    # All that a query holds is text, and nothing in it is null.
    words = in_words(wrong.replace(" | null`", "`"), parameter and parameter.annotation)
    yield told | {"key": alias, "message": _plain(words.removesuffix(", and is a text"))}


def _parameter(request: AnyRequest, key: str) -> tuple[str, FieldDefinition | None]:
    """A parameter by the name that it has in requests, and what it may be."""
    for name, parameter in request.route_handler.parsed_fn_signature.parameters.items():
        alias = getattr(parameter.kwarg_definition, "name", None) or name
        if key in (name, alias):
            return alias, parameter
    return key, None


def _faults_of_body(request: AnyRequest, body: FieldDefinition, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = json_of(request)
    if found is None:
        yield told | {"key": _BODY, "message": "is missing, and has to be given as JSON"}
        return
    faults = list(islice(shape_faults(found, body.annotation, _BODY), _MOST_FAULTS))
    for fault in faults or [Fault(str(told["key"]), None, str(told["message"]))]:
        yield told | {"key": fault.path.removeprefix(f"{_BODY}."), "message": _plain(fault.message)}


def _plain(words: str) -> str:
    """All of our patterns leave characters out."""
    return _BAD_CHARACTER if "matching regex" in words else words


def _missing(request: AnyRequest, key: str) -> dict[str, Any]:
    """A parameter that has to be given."""
    _, parameter = _parameter(request, key)
    found = choices(parameter.annotation) if parameter else []
    wrong = "is missing, and has to be given" + (f"; it is one of {', '.join(found)}" if found else "")
    return {"key": key, "message": wrong, "source": "query"}


def on_store_error(request: AnyRequest, error: Exception) -> Response[bytes]:
    """The database did not answer a reader; the text of its error stays in the log."""
    _log.warning("The store did not answer: %s", error, extra={"action": "store_unavailable"})
    detail = "the database does not answer now; try again shortly"
    problem = ApiProblem(503, "store_unavailable", "The store is not available", detail, retry_after_s=5.0)
    return problem_response(problem, request_id(request))


_REFUSED_VALUES = (
    psycopg.errors.NumericValueOutOfRange,
    psycopg.errors.InvalidTextRepresentation,
    psycopg.errors.DatetimeFieldOverflow,
    psycopg.errors.UntranslatableCharacter,
)


def on_value_error(request: AnyRequest, error: psycopg.DataError) -> Response[bytes]:
    """A value that PostgreSQL does not take, as a text with a NUL in it. Other errors of data are defects."""
    if error.sqlstate is not None and not isinstance(error, _REFUSED_VALUES):
        return on_unexpected(request, error)
    problem = ApiProblem(400, "value_refused", "A value cannot be stored", f"{error}".splitlines()[0])
    return problem_response(problem, request_id(request))


def on_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """For defects: the log has the traceback, the answer only the request's id to find it by."""
    _log.error(
        "%s %s failed",
        request.method,
        request.url.path,
        exc_info=error,
        extra={"action": "request_failed", "request_id": request_id(request)},
    )
    problem = ApiProblem(
        500, "internal_error", "Internal error", "this is a defect; the collector's log tells more"
    )
    return problem_response(problem, request_id(request))


def request_id(request: AnyRequest) -> str | None:
    """The id that `ops.requests` gave to a request."""
    found: str | None = request.scope.get("state", {}).get("request_id")
    return found
