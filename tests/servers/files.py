"""A web server that gives files, as bad ones do: without ranges, cutting off midway, giving something else."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does; may be changed while it runs.

    Attributes:
        content: of every file.
        ranges: whether it gives parts.
        cut_after: the connection is cut after so many bytes, once for each number.
        status: answered instead of a file, once for each number.
        told_length: whether it says how long the file is.
        redirect: the first request of each path goes to another one.
    """

    content: bytes
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    told_length: bool = True
    redirect: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and range of each request."""


@contextmanager
def file_server(behaviour: Behaviour) -> Iterator[str]:
    """The address of a running server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, behaviour)

        def log_message(self, format: str, *args: object) -> None:
            """Tests say by themselves what was wrong."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, does: Behaviour) -> None:
    wanted = handler.headers.get("Range")
    does.asked.append((handler.path, wanted))
    handler.close_connection = True
    if does.status:
        handler.send_response(does.status.pop(0))
        _end_without_body(handler)
        return
    if does.redirect and not handler.path.startswith("/elsewhere"):
        handler.send_response(302)
        handler.send_header("Location", f"/elsewhere{handler.path}")
        _end_without_body(handler)
        return
    _send(handler, does, wanted)


def _send(handler: BaseHTTPRequestHandler, does: Behaviour, wanted: str | None) -> None:
    found = re.fullmatch(r"bytes=(\d+)-", wanted or "") if does.ranges else None
    first, total = int(found[1]) if found else 0, len(does.content)
    if first >= total:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{total}")
        _end_without_body(handler)
        return
    handler.send_response(206 if found else 200)
    if found:
        handler.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
    if does.told_length:
        handler.send_header("Content-Length", str(total - first))
    handler.send_header("Connection", "close")
    handler.end_headers()
    last = does.cut_after.pop(0) + first if does.cut_after else total
    handler.wfile.write(does.content[first:last])


def _end_without_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_header("Content-Length", "0")
    # It is closed in any case. Whoever is not told may send the next request into it, and gets no answer.
    handler.send_header("Connection", "close")
    handler.end_headers()
