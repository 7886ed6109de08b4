"""Why a network camera does not open. FFmpeg tells that to nobody but stderr, so the camera is asked once more."""

import contextlib
import socket
from urllib.parse import SplitResult, urlsplit

_PORTS = {"rtsp": 554, "http": 80, "rtsps": 322, "https": 443}
_PATIENCE_S = 3.0
_HEAD_BYTES = 200


def why_closed(url: str, *, patience_s: float = _PATIENCE_S) -> str:
    """What stands in the way of `url`, with what to do. Holds no password. Blocks for two times `patience_s`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme.lower(), 0)
    except ValueError as error:
        return f"its address makes no sense ({error}); characters such as / # ? in a password are written as %2F"
    if not host or not port:
        return "is its address right?"
    try:
        with socket.create_connection((host, port), patience_s) as connection:
            return _told_by(connection, parts, f"{host}:{port}")
    except socket.gaierror:
        return f"no machine named {host} is known; is the name right, and does DNS work?"
    except ConnectionRefusedError:
        return f"nothing listens on port {port} of {host}; is the port right, and the stream switched on?"
    except OSError:
        return f"{host} does not answer on port {port}; has it power and network, and is the address right?"


def _told_by(connection: socket.socket, parts: SplitResult, name: str) -> str:
    status = _status(connection, parts)
    if status in (401, 403):
        if parts.username is None:
            return "it asks for a user and a password; write user:password@ before the host in its source"
        return "it does not take this user or password"
    if status == 404:
        return f"{name} knows no stream at {parts.path or '/'}; the camera's manual tells its path"
    if status is None:
        return f"{name} takes the connection and does not answer; is it the right port?"
    return "does it send a video that can be decoded (H.264, H.265, MJPEG)?"


def _status(connection: socket.socket, parts: SplitResult) -> int | None:
    """The status code that it answers without credentials; 0: it cannot be asked, None: no answer."""
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if parts.scheme.lower() == "rtsp":
        request = f"DESCRIBE {bare} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    elif parts.scheme.lower() == "http":
        path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        request = f"GET {path} HTTP/1.0\r\nHost: {parts.hostname}\r\n\r\n"
    else:
        return 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        connection.sendall(request.encode())
        return int(connection.recv(_HEAD_BYTES).split(b" ", 2)[1])
    return None
