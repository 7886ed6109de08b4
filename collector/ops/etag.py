"""Answers that are asked for again and again: sent whole only when they have changed."""

import hashlib
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec

T = TypeVar("T")
_BYTES = 16

NOT_MODIFIED = {304: ResponseSpec(None, description="It is as `If-None-Match` says; no body.")}
"""For the `responses` of a route that answers with `etagged`."""


def etagged(request: Request[Any, Any, Any], answer: T, known_by: Any = None) -> Response[T]:
    """`answer` as JSON with its ETag; 304 without a body where the request knows it already (`If-None-Match`).

    Args:
        known_by: what makes it another answer, where it has times besides that change with every look (`as_of`).
            Its tag is a weak one: what a 304 confirms is as of now, which its header `Date` says.
    """
    body = msgspec.json.encode(answer)
    told = body if known_by is None else msgspec.json.encode(known_by)
    tag = f'"{hashlib.blake2b(told, digest_size=_BYTES).hexdigest()}"'
    shown = tag if known_by is None else f"W/{tag}"
    headers = {"ETag": shown, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
    if is_known(request.headers.get("if-none-match"), tag):
        return Response(cast("T", b""), status_code=304, headers=headers)
    return Response(cast("T", body), media_type="application/json", headers=headers)


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether a header `If-None-Match` names a tag. Proxies that compress make weak tags (`W/`) of ours."""
    if if_none_match is None:
        return False
    known = (one.strip().removeprefix("W/") for one in if_none_match.split(","))
    return any(one in ("*", tag) for one in known)
