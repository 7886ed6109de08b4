"""Serves the console's files: read once, told apart by their content, never allowed to load anything foreign.

The files hold no data and are open to everyone who reaches the collector; what they show is asked of the API,
which decides who may read.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from collector.ops.problems import on_http_exception

_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ASK = "no-cache"
"""A browser keeps it, but asks whether it changed, and is answered 304."""
_KEEP = "public, max-age=31536000, immutable"
_INDEX = "index.html"
_PAGES = (
    "/",
    "/junctions/{_:str}",
    "/analytics",
    "/analytics/{_:str}",
    "/devices",
    "/devices/{_:str}",
    "/users",
    "/users/{_:str}",
    "/account",
    "/register",
)
"""One document serves them all; `shell/router.js` tells them apart."""
_NOT_PAGES = ("/api/", "/console/", "/schema", "/ws/")

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, ready to be sent. `etag` changes with its content only; `packed` is the same with gzip."""

    content: bytes
    packed: bytes
    media_type: str
    etag: str


def make_asset(content: bytes, media_type: str) -> Asset:
    """Packed once, so that it costs nothing later."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(content, gzip.compress(content, 9, mtime=0), media_type, etag)


@cache
def load_assets() -> Mapping[str, Asset]:
    """All files of the console by their names below `static`, such as `shell/dom.js`."""
    return dict(_assets_below(resources.files(__package__) / "static", ""))


def edition_of(assets: Mapping[str, Asset]) -> str:
    """A word that changes with any of the files. Below it they never change, so browsers need not ask again."""
    tags = "".join(assets[name].etag for name in sorted(assets))
    return "@" + hashlib.sha256(tags.encode()).hexdigest()[:16]


def _assets_below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _assets_below(entry, f"{prefix}{entry.name}/")
            continue
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _MEDIA_TYPES:
            yield prefix + entry.name, make_asset(entry.read_bytes(), _MEDIA_TYPES[suffix])


def answer(asset: Asset, request: AnyRequest, cache_control: str = _ASK) -> Response[bytes]:
    """The file, packed if the browser can unpack it, or 304 where it has it already."""
    headers = {**HEADERS, "Cache-Control": cache_control, "ETag": asset.etag, "Vary": "Accept-Encoding"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if asset.etag in known or "*" in known:
        return Response(b"", status_code=304, headers=headers)
    accepted = {coding.split(";")[0].strip() for coding in request.headers.get("accept-encoding", "").split(",")}
    if "gzip" not in accepted:
        return Response(asset.content, media_type=asset.media_type, headers=headers)
    # The same content in other bytes: only a weak tag may say that both are the same.
    packed = {**headers, "ETag": f"W/{asset.etag}", "Content-Encoding": "gzip"}
    return Response(asset.packed, media_type=asset.media_type, headers=packed)


class Console:
    """The console's files, and its page at every path of it."""

    def __init__(self) -> None:
        self._assets = load_assets()
        self._edition = edition_of(self._assets)
        index = self._assets[_INDEX]
        text = index.content.replace(b'"/console/', f'"/console/{self._edition}/'.encode())
        self._shell = make_asset(text, index.media_type)

    def routes(self) -> list[HTTPRouteHandler]:
        """The handlers: the shell at the paths of its pages, its modules and styles below `/console/`."""

        @route(list(_PAGES), http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
        async def console_page(request: AnyRequest) -> Response[bytes]:
            return answer(self._shell, request)

        @route("/console/{path:path}", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False)
        async def console_file(request: AnyRequest, path: FromPath[str]) -> Response[bytes]:
            first, _, rest = path.removeprefix("/").partition("/")
            # Who opened the page before the collector was renewed is given the new files at their old place.
            name = rest if first.startswith("@") else path.removeprefix("/")
            asset = self._assets.get(name)
            if asset is None:
                raise NotFoundException(f"the console has no file {name[:100]!r}")
            return answer(asset, request, _KEEP if first == self._edition else _ASK)

        return [console_page, console_file]

    def on_not_found(self, request: AnyRequest, error: NotFoundException) -> Response[bytes]:
        """A browser that was sent astray is told so in a page; programs are told by a problem."""
        is_program = request.url.path.startswith(_NOT_PAGES) or "text/html" not in request.headers.get(
            "accept", ""
        )
        if is_program or request.method not in ("GET", "HEAD"):
            return on_http_exception(request, error)
        return Response(self._shell.content, status_code=404, media_type=self._shell.media_type, headers=HEADERS)
