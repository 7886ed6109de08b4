"""Cameras that send JPEGs over HTTP, one after the other (multipart/x-mixed-replace).

FFmpeg can read them too. But it decodes every picture, wanted or not, which is much of the work on a small Pi; and
when the camera changes the size of its pictures it squeezes them into the old size and tells nobody.
"""

import contextlib
import http.client
import urllib.error
import urllib.request
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_PICTURE_BYTES = 64 * 1024 * 1024
_LINE_BYTES = 65_536
_JPEG_END = b"\xff\xd9"
_END_WITHIN_BYTES = 64
"""Some cameras pad their pictures."""


class MjpegCapture:
    """One connection, in the manner of `cv2.VideoCapture`: `grab` waits for a picture, `retrieve` decodes it."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """`timeout_s`: for the connection, and for each picture."""
        self._stream: IO[bytes] | None = None
        self._data = b""
        self._boundary_read = False
        self.is_multipart = True
        """False: something answers, and it is no stream of JPEGs; another reader has to try."""
        with contextlib.suppress(urllib.error.URLError, OSError, http.client.HTTPException, ValueError):
            answer = _request(url, timeout_s)
            self.is_multipart = "multipart" in answer.headers.get("Content-Type", "")
            self._stream = answer

    def isOpened(self) -> bool:
        """Whether the camera sends pictures."""
        return self._stream is not None

    def grab(self) -> bool:
        """Wait for the next picture. False: the connection is over, or nothing sensible comes."""
        if self._stream is None:
            return False
        try:
            self._data = self._part(self._stream)
        except (OSError, EOFError, http.client.HTTPException, ValueError):
            return False
        return True

    def retrieve(self) -> tuple[bool, NDArray[Any] | None]:
        """Decode it. False: it is damaged; what is missing must not be taken for an empty street."""
        if _JPEG_END not in self._data[-_END_WITHIN_BYTES:]:
            return False, None
        image = cv2.imdecode(np.frombuffer(self._data, np.uint8), cv2.IMREAD_COLOR)
        return image is not None, image

    def release(self) -> None:
        """Close the connection. May be called twice."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _part(self, stream: IO[bytes]) -> bytes:
        while not self._boundary_read:
            self._boundary_read = _line(stream).startswith(b"--")
        length = None
        while line := _line(stream).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if length is None:
            return self._up_to_boundary(stream)
        if not 0 <= length <= MAX_PICTURE_BYTES:
            raise ValueError(f"a picture of {length} bytes")
        self._boundary_read = False
        data = stream.read(length)
        if len(data) < length:
            raise EOFError("it broke off within a picture")
        return data

    def _up_to_boundary(self, stream: IO[bytes]) -> bytes:
        """A picture of unknown length. A line of its bytes may begin like a boundary, but only after its end."""
        data = bytearray()
        while True:
            line = _line(stream)
            if line.startswith(b"--") and _JPEG_END in data[-_END_WITHIN_BYTES:]:
                return bytes(data)
            data += line
            if len(data) > MAX_PICTURE_BYTES:
                raise ValueError("a picture without an end")


def _line(stream: IO[bytes]) -> bytes:
    line = stream.readline(_LINE_BYTES)
    if not line:
        raise EOFError("the stream is over")
    return line


def _request(url: str, timeout_s: float) -> Any:
    """The camera's answer, by way of whichever authentication it asks for, and of no proxy."""
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, bare, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPDigestAuthHandler(passwords),
        urllib.request.HTTPBasicAuthHandler(passwords),
    )
    return opener.open(bare, timeout=timeout_s)
