"""What the API's description says of every operation alike: how failures are told, and which of them there may be.

Litestar describes its own exceptions; ours are answered instead, as problems (RFC 9457).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import (
    Example,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    PathItem,
    Reference,
    RequestBody,
    Schema,
)
from litestar.openapi.spec.enums import OpenAPIType

from collector.ops.examples import BODIES
from collector.ops.problems import PROBLEM_TYPE

_METHODS = ("get", "put", "post", "patch", "delete")
_NAME = "Problem"
_FIRST_FAILURE = 400
_NO_CONTENT = "204"


@dataclass
class DescribedLate(OpenAPIConfig):
    """The description is made when it is first asked for: it takes longer than all the rest of a start.

    Attributes:
        complete: adds what the framework does not see in the handlers.
    """

    complete: Callable[[OpenAPI], None] = lambda _: None

    def to_openapi_schema(self) -> OpenAPI:
        """See `OpenAPIConfig`."""
        complete, made = self.complete, super().to_openapi_schema()

        class Completed(OpenAPI):
            def to_schema(self) -> dict[str, Any]:
                complete(self)
                return super().to_schema()

        return Completed(**{field.name: getattr(made, field.name) for field in fields(made)})


def describe_problems(description: OpenAPI) -> None:
    """Every operation may answer a problem; what the framework says of failures goes."""
    components = description.components
    components.schemas = {**(components.schemas or {}), _NAME: _problem_schema()}
    for path in (description.paths or {}).values():
        for operation in _operations(path):
            told = (operation.responses or {}).items()
            kept = {code: _without_body(code, response) for code, response in told if _is_kept(code, response)}
            operation.responses = {**kept, "4XX": _response("Refused"), "5XX": _response("Failed")}


def describe_bodies(description: OpenAPI) -> None:
    """What may be sent has an example with each operation."""
    for path in (description.paths or {}).values():
        for operation in _operations(path):
            body, example = operation.request_body, BODIES.get(operation.operation_id or "")
            if example is not None and isinstance(body, RequestBody):
                for media in body.content.values():
                    media.examples = {"one": Example(value=example)}


def _operations(path: PathItem) -> list[Operation]:
    found = (getattr(path, method) for method in _METHODS)
    return [operation for operation in found if operation is not None]


def _is_kept(code: str, response: OpenAPIResponse | Reference) -> bool:
    """Of failures, those that are problems."""
    if not code.isdigit() or int(code) < _FIRST_FAILURE or isinstance(response, Reference):
        return True
    return PROBLEM_TYPE in (response.content or {})


def _without_body(code: str, response: OpenAPIResponse | Reference) -> OpenAPIResponse | Reference:
    """An answer without content has none."""
    if code == _NO_CONTENT and isinstance(response, OpenAPIResponse):
        response.content = None
    return response


def _response(what: str) -> OpenAPIResponse:
    body = OpenAPIMediaType(schema=Reference(ref=f"#/components/schemas/{_NAME}"))
    return OpenAPIResponse(description=f"{what}: a problem that says why.", content={PROBLEM_TYPE: body})


def _problem_schema() -> Schema:
    def text(description: str) -> Schema:
        return Schema(type=OpenAPIType.STRING, description=description)

    return Schema(
        type=OpenAPIType.OBJECT,
        title="A problem (RFC 9457)",
        description="What went wrong, for people in `detail`, for programs in `code`. Problems may say more.",
        required=["type", "title", "status", "detail", "code", "server_time"],
        properties={
            "type": text("A name of the problem, as a URN."),
            "title": text("The problem in short."),
            "status": Schema(type=OpenAPIType.INTEGER, description="The status of the answer."),
            "detail": text("What is wrong here, with the name of the field and what would be right."),
            "code": text("What to act on."),
            "server_time": Schema(type=OpenAPIType.INTEGER, description="UTC in ms since 1970."),
            "request_id": text("To find the request in the log by."),
            "retry_after_s": Schema(type=OpenAPIType.NUMBER, description="When to try again."),
        },
    )
