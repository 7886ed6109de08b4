"""Answers that are asked for again and again are sent whole only when they have changed; what somebody changes is
changed only if it still is as they have seen it."""

import hashlib
import re
from collections.abc import Collection
from typing import Annotated, Any, TypeVar, cast

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter

from collector.errors import ApiProblem

T = TypeVar("T")
_BYTES = 16
_TAG = re.compile(r'[ \t]*(W/)?"([!\x23-\x7e\x80-\xff]*)"[ \t]*(?:,|$)')

NOT_MODIFIED = {304: ResponseSpec(None, description="It is as `If-None-Match` says; no body.")}
"""For the `responses` of a route that answers with `etagged`."""


CHANGED = {
    412: "It was changed since: it does not have the version of `If-Match`. Nothing was done; read it again.",
}
"""For what a route's problems say that takes an `IfMatch`."""

IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description=(
            "Only where it still has this `version`, in quotation marks, or one of several; the `ETag` that it was"
            " read with does as well. `*`: any. Left out: whatever others changed meanwhile."
        ),
    ),
]


def etagged(
    request: Request[Any, Any, Any], answer: T, known_by: Any = None, version: str | None = None
) -> Response[T]:
    """`answer` as JSON with its ETag; 304 without a body where the request knows it already (`If-None-Match`).

    Args:
        known_by: what makes it another answer, where it has times besides that change with every look (`as_of`).
            Its tag is a weak one: what a 304 confirms is as of now, which its header `Date` says.
        version: of what can be edited of it. The tag begins with it, so that it can be told from what is measured.
    """
    body = msgspec.json.encode(answer)
    told = body if known_by is None else msgspec.json.encode(known_by)
    digest = hashlib.blake2b(told, digest_size=_BYTES).hexdigest()
    tag = f'"{digest}"' if version is None else f'"{version}.{digest}"'
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


def version_of(state: Any) -> str:
    """A name for a state of what can be edited: the same for the same."""
    told = msgspec.json.encode(state, order="deterministic")
    return hashlib.blake2b(told, digest_size=_BYTES // 2).hexdigest()


def wanted_versions(if_match: str | None) -> Collection[str] | None:
    """The versions that a header `If-Match` names, for `check_version`; None: there is none. `*` is any.

    A weak tag (`W/`) never matches (RFC 9110, 13.1.1). What a tag says besides the version, of what was measured
    when it was made, is not looked at: nobody edits that.

    Raises ApiProblem (400): it names no tags.
    """
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return {"*"}
    found, at = set(), 0
    while at < len(if_match) or not if_match:
        tag = _TAG.match(if_match, at)
        if tag is None:
            detail = 'If-Match: give a version in quotation marks, as "3f1c", several with commas between, or *'
            raise ApiProblem(400, "bad_request", "No version", detail)
        if not tag[1]:
            found.add(tag[2].partition(".")[0])
        at = tag.end()
    return found


def check_version(wanted: Collection[str] | None, version: str | None, what: str) -> None:
    """Raises ApiProblem (412): `what` is not as it has to be. `version` None: it is not there."""
    if wanted is None or (version is not None and ("*" in wanted or version in wanted)):
        return
    detail = (
        f"somebody has changed {what} since you read it, and nothing was done; read it again, see what is"
        " different, and send what you still want with its new version"
    )
    if not wanted:
        detail = "If-Match: a weak tag (W/), as a proxy makes it, fits nothing; give the version as read, or *"
    raise ApiProblem(412, "changed_meanwhile", "Changed meanwhile", detail)
