"""The console's files as they are served: cached by content, closed to everything foreign."""

import gzip
import http.client
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.commands.serve import GRACE_S
from collector.console import routes
from tests.servers.collector import RunningCollector, running_collector

STATIC = Path(routes.__file__).parent / "static"
SVG_NAMESPACE = "http://www.w3.org/2000/svg"


@pytest.fixture
def collector(plain_dsn: str) -> Iterator[RunningCollector]:
    with running_collector(plain_dsn) as running:
        yield running


def ask(
    collector: RunningCollector, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_every_file_is_served_as_what_it_is_and_loads_nothing_foreign(collector: RunningCollector) -> None:
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert len(files) > 20
    for file in files:
        name = file.relative_to(STATIC).as_posix()
        status, headers, body = ask(collector, f"/console/{name}")
        assert (status, body) == (200, file.read_bytes()), name
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert (
            headers["Content-Type"].split(";")[0]
            in {
                ".html": "text/html",
                ".js": "text/javascript",
                ".css": "text/css",
                ".svg": "image/svg+xml",
            }[file.suffix].split()
        )
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        text = body.decode().replace(SVG_NAMESPACE, "")
        assert not re.search(r"https?://|//[a-z]+\.|innerHTML|insertAdjacentHTML|document\.write", text), name


def test_a_browser_that_has_a_file_is_told_so(collector: RunningCollector) -> None:
    status, headers, body = ask(collector, "/")
    assert (status, headers["Cache-Control"]) == (200, "no-cache")
    assert b"<!doctype html>" in body
    etag = headers["ETag"]
    for held in (etag, f"W/{etag}", f'"other", {etag}'):
        status, headers, body = ask(collector, "/", If_None_Match=held)
        assert (status, body, headers["ETag"]) == (304, b"", etag)
    assert ask(collector, "/", If_None_Match='"other"')[0] == 200
    assert ask(collector, "/console/styles/base.css")[1]["ETag"] != etag


def test_the_pages_are_one_document_whose_files_are_kept_for_good(collector: RunningCollector) -> None:
    _, _, shell = ask(collector, "/")
    for path in ("/junctions/8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a", "/devices", "/analytics/x", "/account"):
        assert ask(collector, path)[::2] == (200, shell)
    named = set(re.findall(rb'"(/console/@[0-9a-f]+/[a-z/.-]+)"', shell))
    assert len(named) > 5
    for name in (found.decode() for found in named):
        status, headers, body = ask(collector, name)
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable"), name
        status, headers, packed = ask(collector, name, Accept_Encoding="gzip, br")
        assert (status, headers["Content-Encoding"], gzip.decompress(packed)) == (200, "gzip", body), name
        assert headers["Vary"] == "Accept-Encoding"
        older = re.sub("@[0-9a-f]+", "@0123", name)
        status, headers, again = ask(collector, older)
        assert (status, headers["Cache-Control"], again) == (200, "no-cache", body), (
            "as it is now, and not for good"
        )


def test_head_and_what_is_not_there(collector: RunningCollector) -> None:
    status, headers, body = ask(collector, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert headers["ETag"]
    for path in (
        "/console/nothing.js",
        "/console/..%2froutes.py",
        "/console/%2e%2e/routes.py",
        "/console/",
        "/console/@x",
    ):
        assert ask(collector, path)[0] == 404, path
    assert ask(collector, "/", "POST")[0] == 405
    shell, html = ask(collector, "/")[2], "text/html,*/*;q=0.8"
    assert ask(collector, "/users/a/b", Accept=html)[::2] == (404, shell), "the page says that there is none"
    for path, accept in (("/users/a/b", "*/*"), ("/api/nothing", html), ("/console/@x", html)):
        status, headers, body = ask(collector, path, Accept=accept)
        assert (status, headers["Content-Type"]) == (404, "application/problem+json"), path


def test_an_open_page_does_not_hold_up_a_collector_that_stops(plain_dsn: str) -> None:
    with running_collector(plain_dsn) as collector:
        listening = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
        listening.request("GET", "/api/live/counts")
        stream = listening.getresponse()
        assert stream.readline().startswith(b"retry:")
        began_s = time.monotonic()
    assert time.monotonic() - began_s < GRACE_S
    assert b"event:" not in stream.read(), "a stream that ends in order, and nothing else"
    listening.close()


def test_the_page_can_be_had_where_reading_is_closed(plain_dsn: str) -> None:
    """It holds no data, and says in words what the API says."""
    with running_collector(plain_dsn, reading_open=False) as collector:
        assert ask(collector, "/")[0] == 200
        assert ask(collector, "/api/live/counts")[0] == 401
