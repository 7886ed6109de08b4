"""The endpoints that devices talk to. What they say is described in `common.batch`."""

import time
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse

from collector.errors import ApiProblem, device_problem
from collector.identity.device_tokens import Device, DeviceTokens
from collector.ingest.decode import Decompressor, decode_batch, read_body
from collector.ingest.description import BatchOperation
from collector.ingest.writer import IngestWriter
from collector.ops.metrics import Metrics
from collector.ops.parameters import check_text
from collector.ops.problems import PROBLEM_TYPE
from common.batch import BATCHES_PATH, STREAMS_PATH, Ack, Problem
from common.codes import ProblemCode

_ENCODE = msgspec.json.Encoder()


def _described(*codes: int) -> dict[int, ResponseSpec]:
    told = {
        400: "The batch cannot be read; do not send it again as it is.",
        401: "The token is missing or cannot be accepted; keep everything, slow down.",
        403: "The device is unknown, revoked, another one, or has too many streams; keep everything, slow down.",
        409: "Records are missing before this batch; `expected_seq` is the one to send next.",
        413: "The batch is too large; send half.",
        429: "The collector is busy; wait `Retry-After` seconds.",
        503: "The database cannot store now; wait `Retry-After` seconds.",
    }
    return {
        code: ResponseSpec(Problem, media_type=PROBLEM_TYPE, description=told[code], generate_examples=False)
        for code in codes
    }


class Ingest:
    """What the endpoints need: who may send, and the writer."""

    def __init__(self, tokens: DeviceTokens, writer: IngestWriter, metrics: Metrics) -> None:
        self._tokens = tokens
        self._writer = writer
        self._metrics = metrics
        self._decompressor = Decompressor()

    async def store(self, request: Request[Any, Any, Any]) -> Ack:
        """Take in the batch that is a request's body. Raises ApiProblem."""
        headers = request.headers
        device = await self._tokens.verify(headers.get("authorization"), time.time())
        try:
            body = await read_body(request.stream(), headers.get("content-length"))
            plain = self._decompressor.decompress(body, headers.get("content-encoding"))
        except ApiProblem as problem:
            self._metrics.bodies_refused.labels(problem.code).inc()
            raise
        batch = decode_batch(plain)
        if batch.device != device.id:
            detail = f"the token is device {device.id}'s, the batch device {batch.device}'s"
            raise device_problem(ProblemCode.DEVICE_MISMATCH, detail)
        return await self._writer.submit(device, batch, len(plain))

    async def watermark(self, authorization: str | None, stream: str, epoch: UUID) -> Ack:
        """Where a stream of the asking device stands. Raises ApiProblem."""
        device: Device = await self._tokens.verify(authorization, time.time())
        return await self._writer.watermark(device, stream, epoch)


def ingest_routes(ingest: Ingest) -> list[HTTPRouteHandler]:
    """The handlers."""

    @post(
        BATCHES_PATH,
        status_code=200,
        operation_id="ingestBatch",
        operation_class=BatchOperation,
        summary="Store a batch of records exactly once",
        tags=["devices"],
        security=[{"deviceToken": []}],
        responses={
            200: ResponseSpec(Ack, description="All is stored or put aside.", generate_examples=False),
            **_described(400, 401, 403, 409, 413, 429, 503),
        },
        request_max_body_size=None,
    )
    async def ingest_batch(request: Request[Any, Any, Any]) -> ASGIResponse:
        """Answered only after the records, the stream's watermark and the marks for the rollups are committed.

        Records that the collector has already are skipped; what cannot be stored is put aside and named in
        `rejected`. The body may be encoded with zstd or gzip.
        """
        return ASGIResponse(body=_ENCODE.encode(await ingest.store(request)), media_type=MediaType.JSON)

    @get(
        STREAMS_PATH + "/{stream:str}",
        operation_id="streamWatermark",
        summary="What the collector has of a stream",
        tags=["devices"],
        security=[{"deviceToken": []}],
        responses={
            200: ResponseSpec(Ack, description="The stream's watermark.", generate_examples=False),
            **_described(401, 403, 503),
        },
    )
    async def stream_watermark(
        request: Request[Any, Any, Any],
        stream: Annotated[str, PathParameter(description="The stream's name.")],
        epoch: Annotated[UUID, QueryParameter(description="The outbox's epoch.")],
    ) -> Response[bytes]:
        """Asked once when an agent starts: it learns the time, and from where to send."""
        check_text("stream", stream)
        ack = await ingest.watermark(request.headers.get("authorization"), stream, epoch)
        return Response(_ENCODE.encode(ack), media_type=MediaType.JSON)

    return [ingest_batch, stream_watermark]
