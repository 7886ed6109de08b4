"""Serves the library that draws charts out of its installed wheel: kept by browsers for a year, under its release.

It is read and packed when the first page asks for it, and needs nothing that the console's policy forbids: no
evaluation of text, no styles in the page (`analytics/plotly.js` says how).
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from litestar import HttpMethod, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from collector.console.routes import AnyRequest, Asset, answer, make_asset

_FILE = "plotly/package_data/plotly.min.js"
_KEEP = "public, max-age=31536000, immutable"


def plotly_release() -> str | None:
    """The release that is installed; None: none is, and charts are not drawn."""
    try:
        return distribution("plotly").version
    except PackageNotFoundError:
        return None


@cache
def load_plotly(release: str) -> Asset:
    """The library, ready to be sent; packing it takes a moment, once. `release` is the one that is installed."""
    path = Path(str(distribution("plotly").locate_file(_FILE)))
    return make_asset(path.read_bytes(), "text/javascript")


def plotly_routes() -> list[HTTPRouteHandler]:
    """The handlers: `/plotly.js` leads to the release that is installed."""

    @route(
        "/plotly.js", http_method=[HttpMethod.GET, HttpMethod.HEAD], include_in_schema=False, sync_to_thread=False
    )
    def plotly_now() -> Response[bytes]:
        headers = {"Location": f"/plotly/{_installed()}/plotly.js", "Cache-Control": "no-cache"}
        return Response(b"", status_code=302, headers=headers)

    @route(
        "/plotly/{release:str}/plotly.js",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        include_in_schema=False,
        sync_to_thread=True,
    )
    def plotly_file(request: AnyRequest, release: FromPath[str]) -> Response[bytes]:
        if release != _installed():
            raise NotFoundException(f"plotly {release[:20]} is not the release that is installed")
        return answer(load_plotly(release), request, _KEEP)

    return [plotly_now, plotly_file]


def _installed() -> str:
    release = plotly_release()
    if release is None:
        raise NotFoundException("plotly is not installed, which draws the charts")
    return release
