"""Parameters that the routes share."""

from typing import Annotated, Any
from uuid import UUID

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter

JunctionId = Annotated[UUID, PathParameter(description="Id of the junction.")]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description=(
            "RFC 3339 time, or a date there. The answer begins with the hour (the day) that it lies in."
            " Default: so that the answer has seven days, the last of which `to` lies in."
        ),
        examples=[Example(value="2026-05-04"), Example(value="2026-05-04T00:00:00+02:00")],
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="RFC 3339 time, or a date there, which is still part of the answer. Default: now.",
        examples=[Example(value="2026-05-10")],
    ),
]


def answers(kind: type[Any], example: object) -> dict[int, ResponseSpec]:
    """What a route answers, for its description."""
    return {200: ResponseSpec(kind, description="The answer.", examples=[Example(value=example)])}
