"""The wire in OpenAPI: `common.batch`, `common.records` and `common.junction`, as msgspec describes them."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Reference, RequestBody, Schema

from common.batch import Batch
from common.junction import Junction
from common.records import Record

_REF = "#/components/schemas/{name}"
_EXAMPLE = {
    "v": 1,
    "device": "0198a6a2-6f0e-7c3e-9a51-0d6e3f1f2b11",
    "stream": "agent",
    "epoch": "0198a6a2-7777-7c3e-9a51-0d6e3f1f2b11",
    "first_seq": 1,
    "sent_at": 1767225600000,
    "clock": {"synced": True, "error_ms": 3},
    "records": [
        ["count", 1, 1767225599500, 0, "north", "stop_line", "camera", "car", "in", 0.91, "17"],
        ["gap", 2, 1767225600000, 0, "camera_down", 30000, "north"],
    ],
}


@dataclass
class _Described(Schema):
    """A schema that somebody else has written."""

    text: dict[str, Any] = field(default_factory=dict)

    def to_schema(self) -> dict[str, Any]:
        return self.text


def wire_schemas() -> dict[str, Schema]:
    """The schemas of a batch, of all kinds of records, and of a junction's description, by name."""
    (_, record, _), schemas = msgspec.json.schema_components((Batch, Record, Junction), ref_template=_REF)
    schemas["Batch"]["properties"]["records"]["items"] = record
    return {name: _Described(text=text) for name, text in schemas.items()}


@dataclass
class BatchOperation(Operation):
    """The body is read by hand, before it is decompressed; so it has to be described by hand too."""

    def __post_init__(self) -> None:
        body = OpenAPIMediaType(
            schema=Reference(ref=_REF.format(name="Batch")), examples={"batch": Example(value=_EXAMPLE)}
        )
        self.request_body = RequestBody(
            required=True,
            description="A run of one stream's records; with `Content-Encoding: zstd`, `gzip` or none.",
            content={"application/json": body},
        )
