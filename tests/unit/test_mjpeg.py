"""JPEGs over HTTP as cameras send them: with and without lengths, odd boundaries, damaged, behind a password."""

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_agent.drivers.base import FrameSource, SourceError, SourceUnusable
from edge_agent.drivers.sources.mjpeg import MAX_PICTURE_BYTES, MjpegCapture
from edge_agent.drivers.sources.opening import open_source
from tests.servers.network_camera import NetworkCamera
from tests.servers.pictures import jpeg, street

PICTURES = [jpeg(street(t_s)) for t_s in (0.2, 0.5, 0.9)]
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=%s\r\n\r\n"


@contextlib.contextmanager
def serving(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server that answers each connection's first request, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        client.sendall(answer(client.recv(4096)))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/live"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def pictures_of(url: str) -> list[np.ndarray | None]:
    capture = MjpegCapture(url, timeout_s=5.0)
    assert capture.isOpened()
    assert capture.is_multipart
    found = []
    while capture.grab():
        found.append(capture.retrieve()[1])
    capture.release()
    capture.release()
    return found


def part(data: bytes, *, boundary: bytes = b"--b", length: bool = True) -> bytes:
    size = b"content-length: %d\r\n" % len(data) if length else b""
    return boundary + b"\r\nContent-Type: image/jpeg\r\n" + size + b"\r\n" + data + b"\r\n"


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize(("named", "sent"), [(b"b", b"--b"), (b"--b", b"--b"), (b'"b"', b"----b")])
def test_parts_with_and_without_lengths(named: bytes, sent: bytes, length: bool) -> None:
    body = b"".join(part(data, boundary=sent, length=length) for data in PICTURES) + sent + b"--\r\n"
    with serving(lambda _: HEAD % named + body) as url:
        found = pictures_of(url)
    assert [image.shape for image in found if image is not None] == [(240, 320, 3)] * 3


def test_a_damaged_picture_is_left_out_and_the_next_is_given() -> None:
    cut = PICTURES[0][: len(PICTURES[0]) // 2]
    body = part(cut) + part(b"no picture" + b"\xff\xd9") + part(b"") + part(PICTURES[1])
    with serving(lambda _: HEAD % b"b" + body) as url:
        found = pictures_of(url)
    assert [image is None for image in found] == [True, True, True, False]


@pytest.mark.parametrize(
    "body",
    [b"", b"--b\r\n", b"--b\r\nContent-Length: -1\r\n\r\nxx", b"--b\r\nContent-Length: many\r\n\r\nxx",
     b"--b\r\nContent-Length: %d\r\n\r\nxx" % (MAX_PICTURE_BYTES + 1), part(PICTURES[0])[:-100],
     part(PICTURES[0], length=False)[:-100]],
)  # fmt: skip
def test_nonsense_ends_the_stream(body: bytes) -> None:
    with serving(lambda _: HEAD % b"b" + body) as url:
        assert pictures_of(url) == []


def test_the_size_may_change_and_is_told() -> None:
    body = part(PICTURES[0]) + part(jpeg(street(0.2, (640, 480))))
    with serving(lambda _: HEAD % b"b" + body) as url:
        assert [image.shape for image in pictures_of(url) if image is not None] == [(240, 320, 3), (480, 640, 3)]


def read_to_the_end(source: FrameSource) -> None:
    source.open()
    for _ in range(5):
        source.read(2.0)


def test_what_is_no_multipart_is_left_to_ffmpeg() -> None:
    still = b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(PICTURES[0])
    with serving(lambda _: still + PICTURES[0]) as url:
        assert not MjpegCapture(url, 5.0).is_multipart
        with contextlib.closing(open_source(url)) as source, pytest.raises(SourceError):
            read_to_the_end(source)


def test_digest_authentication() -> None:
    """As most cameras ask for; the hash is that of RFC 2617 with a nonce."""

    def answer(request: bytes) -> bytes:
        header = request.decode().partition("Digest ")[2].split("\r\n")[0]
        fields = dict(pair.strip().split("=", 1) for pair in header.split(",") if "=" in pair)
        secret = hashlib.md5(b"admin:camera:p@ss:word").hexdigest()
        what = hashlib.md5(b"GET:/live").hexdigest()
        words = [secret, "n1", *(fields.get(key, "").strip('"') for key in ("nc", "cnonce", "qop")), what]
        if fields.get("response", "").strip('"') != hashlib.md5(":".join(words).encode()).hexdigest():
            return (
                b'HTTP/1.0 401 No\r\nWWW-Authenticate: Digest realm="camera", nonce="n1", qop="auth"\r\n'
                b"Content-Length: 0\r\n\r\n"
            )
        return HEAD % b"b" + part(PICTURES[0])

    with serving(answer) as url:
        right = url.replace("://", "://admin:p%40ss%3Aword@")
        assert len(pictures_of(right)) == 1
        wrong = MjpegCapture(url.replace("://", "://admin:other@"), 5.0)
        assert not wrong.isOpened()
        assert not wrong.grab()


def test_pictures_that_nobody_wants_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    n_decoded = 0
    true = MjpegCapture.retrieve

    def counting(capture: MjpegCapture) -> object:
        nonlocal n_decoded
        n_decoded += 1
        return true(capture)

    monkeypatch.setattr(MjpegCapture, "retrieve", counting)
    with NetworkCamera(fps=100.0) as camera, contextlib.closing(open_source(camera.url, fps=10)) as source:
        source.open()
        frames = [source.read(5.0)]
        while frames[-1].index - frames[0].index <= 20:  # on a busy machine the camera is slower
            frames.append(source.read(5.0))
    assert n_decoded <= len(frames) + 1


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras are in the house, and a proxy is not."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with NetworkCamera(fps=60.0) as camera, contextlib.closing(open_source(camera.url)) as source:
        source.open()
        source.read(5.0)


def test_a_connection_that_is_refused_is_told() -> None:
    with NetworkCamera() as camera:
        url = camera.url
    with pytest.raises(SourceUnusable, match="nothing listens on port"):
        open_source(url).open()
