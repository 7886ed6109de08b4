"""Serves the console's files: read once, told apart by their content, never allowed to load anything foreign.

The files hold no data and are open to everyone who reaches the collector; what they show is asked of the API,
which decides who may read.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The files change with the collector alone; a browser asks whether they did, and is answered 304.
    "Cache-Control": "no-cache",
}
_INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent. `etag` changes with its content only."""

    content: bytes
    media_type: str
    etag: str


def load_assets() -> Mapping[str, Asset]:
    """All files of the console by name."""
    folder = resources.files(__package__) / "static"
    found = {}
    for entry in folder.iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _MEDIA_TYPES:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[entry.name] = Asset(content, _MEDIA_TYPES[suffix], etag)
    return found


def answer(asset: Asset, if_none_match: str | None) -> Response[bytes]:
    """The file, or 304 where the browser has it already."""
    headers = {**HEADERS, "ETag": asset.etag}
    known = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    if asset.etag in known or "*" in known:
        return Response(b"", status_code=304, headers=headers)
    return Response(asset.content, media_type=asset.media_type, headers=headers)


def console_routes() -> list[HTTPRouteHandler]:
    """The handlers: the page at `/`, its modules and styles below `/console/`."""
    assets = load_assets()

    @route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def console_page(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answer(assets[_INDEX], request.headers.get("if-none-match"))

    @route("/console/{name:str}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
    async def console_file(
        request: Request[Any, Any, Any], name: Annotated[str, Parameter(max_length=100)]
    ) -> Response[bytes]:
        if name not in assets:
            raise NotFoundException(f"the console has no file {name!r}")
        return answer(assets[name], request.headers.get("if-none-match"))

    return [console_page, console_file]
