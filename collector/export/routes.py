"""`GET /api/analytics/junction/{id}/export` and `GET /api/export`."""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

import psycopg
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from collector.counting.queries import Bucket
from collector.db import VIEWER, Pool
from collector.errors import ApiProblem, CollectorError
from collector.export.reading import Junction, Range, Reader
from collector.export.streams import CSV_TYPE, PARQUET_TYPE, Compression, Export, Form
from collector.export.tables import What
from collector.identity.access import Access, CurrentUser
from collector.ops.parameters import From, To, check_text, time_range

_log = logging.getLogger(__name__)

MAX_RUNNING = 16
"""Exports of one collector at a time."""
_RECHECK_S = 30.0

JunctionId = Annotated[UUID, PathParameter(description="Id of the junction.")]
Junctions = Annotated[
    list[str] | None,
    QueryParameter(name="junction", description="Name or id of a junction; repeatable. Default: all you see."),
]
WhatParameter = Annotated[
    What,
    QueryParameter(
        name="what",
        description=(
            "`counts`: each crossing and passage. `rollups`: counts per bucket of `step`, also where nothing was"
            " counted or measured. `cycles` and `lanes`: signal cycles. `events`: the lights' high-resolution log."
        ),
    ),
]
Step = Annotated[
    Bucket, QueryParameter(name="step", description="Length of the buckets of `rollups`; else without meaning.")
]
FormParameter = Annotated[Form, QueryParameter(name="format", description="Kind of file.")]
Compress = Annotated[
    Compression | None,
    QueryParameter(
        name="compress",
        description="A CSV is then a compressed file (default: it is not); Parquet is inside (default: zstd).",
    ),
]
AnyRequest = Request[Any, Any, Any]
_TAGS = ["analytics"]
_DESCRIPTION = (
    "A stream of any size. Times are UTC, with the local time in a column of its own; names of columns tell units."
    " What was not measured is empty, and `range_measured_s` tells for how much of the range something measured,"
    " where that can be told. No file holds the number of a tag. A file that ends without its end was broken off."
)


@dataclass
class ExportOperation(Operation):
    """One status, several kinds of file."""

    def __post_init__(self) -> None:
        binary = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        types = (CSV_TYPE, "application/gzip", "application/zstd", PARQUET_TYPE)
        content = {name: OpenAPIMediaType(schema=binary) for name in types}
        self.responses = (self.responses or {}) | {
            "200": OpenAPIResponse(description="The file.", content=content)
        }


@dataclass
class _Running:
    """How many exports there are now."""

    n: int = field(default=0)

    async def counted(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.n += 1
        try:
            async for piece in pieces:
                yield piece
        finally:
            self.n -= 1


class AccessEnded(CollectorError):
    """Whoever an export is for may not see all of it any more."""


@dataclass(frozen=True)
class _Allowed:
    """Breaks an export off when its user may not see its junctions any more: else it would seem to be whole."""

    access: Access | None
    """None: whoever reaches the collector may read."""

    async def while_allowed(
        self, pieces: AsyncIterator[bytes], request: AnyRequest, junctions: Sequence[Junction]
    ) -> AsyncIterator[bytes]:
        user = await self.access.current_user(request) if self.access else None
        ask_at_s = time.monotonic() + _RECHECK_S
        async for piece in pieces:
            if user is not None and time.monotonic() >= ask_at_s:
                await self._check(user, junctions)
                ask_at_s = time.monotonic() + _RECHECK_S
            yield piece
        if user is not None:
            await self._check(user, junctions)

    async def _check(self, user: CurrentUser, junctions: Sequence[Junction]) -> None:
        assert self.access is not None
        try:
            rights = await self.access.still(user)
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("Rights cannot be asked for: %s", error, extra={"action": "rights_unknown"})
            return
        if rights is None or not all(rights.sees(junction.id) for junction in junctions):
            raise AccessEnded(f"{user.name} may not see what they export any more")


def export_routes(pool: Pool, access: Access | None) -> list[HTTPRouteHandler]:
    """The handlers. `access` None: whoever reaches the collector may read."""
    reader, running, allowed = Reader(pool), _Running(), _Allowed(access)

    async def export(
        request: AnyRequest,
        names: Sequence[str] | None,
        what: What,
        asked: Range,
        form: Form,
        compress: Compression | None,
    ) -> Stream:
        if running.n >= MAX_RUNNING:
            detail = f"{running.n} exports are under way; wait until one is done"
            raise ApiProblem(429, "exports_busy", "Too many exports", detail, retry_after_s=10.0)
        check_text("junction", *(names or ()))
        found = Export(reader, what, await reader.junctions(names), asked, form, compress, VIEWER.get())
        headers = {"Content-Disposition": found.disposition, "Cache-Control": "no-store"}
        pieces = allowed.while_allowed(found.stream(), request, found.junctions)
        return Stream(running.counted(pieces), media_type=found.media_type, headers=headers)

    @get(
        "/api/analytics/junction/{junction_id:uuid}/export",
        operation_id="export_junction",
        operation_class=ExportOperation,
        summary="What is stored of a junction, as CSV or Parquet",
        description=_DESCRIPTION,
        tags=_TAGS,
        responses={200: ResponseSpec(bytes, description="The file.", generate_examples=False)},
    )
    async def export_junction(
        request: AnyRequest,
        junction_id: JunctionId,
        what: WhatParameter,
        start: From = None,
        end: To = None,
        step: Step = Bucket.HOUR,
        format: FormParameter = Form.CSV,
        compress: Compress = None,
    ) -> Stream:
        names, asked = [str(junction_id)], Range(*time_range(start, end), step)
        return await export(request, names, what, asked, format, compress)

    @get(
        "/api/export",
        operation_id="export",
        operation_class=ExportOperation,
        summary="What is stored of several junctions, as CSV or Parquet",
        description=_DESCRIPTION + " Junction by junction, in the order of their names.",
        tags=_TAGS,
        responses={200: ResponseSpec(bytes, description="The file.", generate_examples=False)},
    )
    async def export_all(
        request: AnyRequest,
        what: WhatParameter,
        junction: Junctions = None,
        start: From = None,
        end: To = None,
        step: Step = Bucket.HOUR,
        format: FormParameter = Form.CSV,
        compress: Compress = None,
    ) -> Stream:
        return await export(request, junction, what, Range(*time_range(start, end), step), format, compress)

    return [export_junction, export_all]
