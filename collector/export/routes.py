"""`GET /api/analytics/junction/{id}/export` and `GET /api/export`."""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

import psycopg
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import PathParameter, QueryParameter
from litestar.response import Stream

from collector.counting.queries import Bucket
from collector.db import VIEWER, Pool
from collector.errors import ApiProblem, CollectorError
from collector.export.reading import Junction, Range, Reader
from collector.export.streams import CSV_TYPE, PARQUET_TYPE, Compression, Export, Form
from collector.export.tables import What
from collector.identity.access import Access, CurrentUser, address_of
from collector.identity.sessions import network_of
from collector.ops.parameters import From, To, check_text, time_range

_log = logging.getLogger(__name__)

MAX_RUNNING = 16
"""Exports of one worker at a time."""
MAX_OF_ONE = 4
"""Of them, those of one user; of those who did not sign in, of one address."""
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
FromThere = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="RFC 3339 time, or a date there; what happened from then on. Default: a day before `to`.",
        examples=[Example(value="2026-05-04"), Example(value="2026-05-04T00:00:00+02:00")],
    ),
]
ToThere = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="RFC 3339 time, or a date there, which is still part of the file. Default: now.",
        examples=[Example(value="2026-05-10")],
    ),
]
AnyRequest = Request[Any, Any, Any]
_TAGS = ["analytics"]
_DESCRIPTION = (
    "A stream of any size. Times are UTC, with the local time in a column of its own; names of columns tell units."
    " What was not measured is empty, and `range_measured_s` tells for how much of the range it was measured,"
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


class _Slot:
    """One export's place among those that run. Given back when it is dropped, at the latest: a stream that nobody
    began to read is never closed."""

    def __init__(self, running: "Counter[str]", whose: str) -> None:
        self._running, self._whose = running, whose
        self._is_held = True
        running[whose] += 1

    def give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._running[self._whose] -= 1
            self._running += Counter()  # Forgets those that have none.

    __del__ = give_back


@dataclass
class _Running:
    """The exports that there are now, by whose they are."""

    by_whom: Counter[str] = field(default_factory=Counter)

    def take(self, whose: str, name: str) -> _Slot:
        """A place for one more. Raises ApiProblem (429): there is none."""
        n, n_own = self.by_whom.total(), self.by_whom[whose]
        if n_own >= MAX_OF_ONE:
            detail = f"{n_own} exports of {name} are under way; wait until one is done, or break one off"
            raise ApiProblem(429, "exports_of_one", "Too many exports at once", detail, retry_after_s=10.0)
        if n >= MAX_RUNNING:
            detail = f"{n} exports are under way; wait until one is done"
            raise ApiProblem(429, "exports_busy", "Too many exports", detail, retry_after_s=10.0)
        return _Slot(self.by_whom, whose)


async def _holding(slot: _Slot, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        slot.give_back()


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
        junctions: Sequence[Junction],
        what: What,
        asked: Range,
        form: Form,
        compress: Compression | None,
    ) -> Stream:
        user = await access.current_user(request) if access else None
        address = network_of(address_of(request))
        slot = running.take(str(user.id) if user else address, user.name if user else address)
        found = Export(reader, what, junctions, asked, form, compress, VIEWER.get())
        headers = {"Content-Disposition": found.disposition, "Cache-Control": "no-store"}
        pieces = allowed.while_allowed(found.stream(), request, found.junctions)
        return Stream(_holding(slot, pieces), media_type=found.media_type, headers=headers)

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
        start: FromThere = None,
        end: ToThere = None,
        step: Step = Bucket.HOUR,
        format: FormParameter = Form.CSV,
        compress: Compress = None,
    ) -> Stream:
        [junction] = await reader.junctions([str(junction_id)])
        asked = Range(*time_range(start, end, zone=junction.timezone), step)
        return await export(request, [junction], what, asked, format, compress)

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
        asked = Range(*time_range(start, end), step)
        check_text("junction", *(junction or ()))
        return await export(request, await reader.junctions(junction), what, asked, format, compress)

    return [export_junction, export_all]
