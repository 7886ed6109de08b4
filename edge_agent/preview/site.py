"""The page's files and what it asks for, behind the checks of who asks."""

import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from http import HTTPStatus
from importlib import resources
from typing import Any, TypeVar

import msgspec

from edge_agent.config.loading import ConfigError
from edge_agent.preview import access
from edge_agent.preview.access import Access, Refused
from edge_agent.preview.editing import ChangedMeanwhile, Drawing, Unusable
from edge_agent.preview.http import Answer, Bad, Request, as_json
from edge_agent.preview.studio import NotNow, Studio

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_BOUNDARY = "stopline-next-picture"
_CHANGED = (
    "{} was changed by somebody else since this page read it, and was left as it is. Read it again: your drawing "
    "stays on the page, and can be saved then"
)
_T = TypeVar("_T")


class Code(msgspec.Struct, frozen=True):
    """What opens a session."""

    code: str


class Choice(msgspec.Struct, frozen=True):
    """Which camera."""

    camera: str


class Saving(msgspec.Struct, frozen=True):
    """What to save, and over which version of the file."""

    drawing: Drawing
    mark: str


class Site:
    """Answers requests.

    Args:
        own_names: what this machine is called on its network.
        told: hears who opened a session.
    """

    def __init__(
        self,
        studio: Studio,
        gate: Access,
        own_names: Iterable[str],
        told: Callable[[str], None],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._studio, self._gate, self._own_names, self._told = studio, gate, frozenset(own_names), told
        self._monotonic_s = monotonic_s
        self._files = _load_files()
        self._gets: Mapping[str, Callable[[Request], Any]] = {
            "/api/state": self._state,
            "/api/heat": self._heat,
            "/api/still.jpg": self._still,
            "/api/stream.mjpg": self._stream,
        }
        self._posts: Mapping[str, Callable[[Request], Any]] = {
            "/api/camera": self._choose,
            "/api/try": self._try,
            "/api/save": self._save,
            "/api/reload": self._reload,
            "/api/suggest": self._suggest,
        }

    async def answer(self, request: Request) -> Answer:
        """Raises:
        Bad: with the error to answer with.
        """
        self._check_sender(request)
        if request.method == "GET" and request.path in self._files:
            return self._files[request.path]
        if request.method == "POST" and request.path == "/api/session":
            self._check_origin(request)
            return self._enter(request)
        handlers = {"GET": self._gets, "POST": self._posts}.get(request.method)
        if handlers is None or request.path not in handlers:
            raise Bad(HTTPStatus.NOT_FOUND, "there is nothing here; the page is at /")
        if request.method == "POST":
            self._check_origin(request)
        self._check_session(request, active=request.method == "POST" or "active" in request.query)
        try:
            answer: Answer = await handlers[request.path](request)
        except NotNow as error:
            raise Bad(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error
        return answer

    def _check_sender(self, request: Request) -> None:
        if not access.is_near(request.peer):
            raise Bad(HTTPStatus.FORBIDDEN, "this page is for the local network only")
        host = request.headers.get("host", "")
        if not access.is_own_host(host, self._own_names):
            raise Bad(HTTPStatus.MISDIRECTED_REQUEST, "call this page by the address that the terminal shows")

    def _check_origin(self, request: Request) -> None:
        headers = request.headers
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if not access.is_same_origin(origin, headers.get("host", ""), site):
            raise Bad(HTTPStatus.FORBIDDEN, "only the page itself may ask for this")
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Bad(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON")

    def _check_session(self, request: Request, *, active: bool) -> None:
        if not self._is_open(request, active=active):
            raise Bad(HTTPStatus.UNAUTHORIZED, "type the code that stands in the terminal")

    def _is_open(self, request: Request, *, active: bool) -> bool:
        secret = access.secret_of(request.headers.get("cookie"))
        return self._gate.is_open(secret, self._monotonic_s(), active=active)

    def _enter(self, request: Request) -> Answer:
        try:
            secret = self._gate.exchange(_decoded(request, Code).code, self._monotonic_s())
        except Refused as error:
            status = HTTPStatus.TOO_MANY_REQUESTS if error.wait_s else HTTPStatus.FORBIDDEN
            headers = {"Retry-After": str(int(error.wait_s) + 1)} if error.wait_s else {}
            raise Bad(status, str(error), headers) from error
        self._told(request.peer)
        return as_json({"ok": True}, headers={"Set-Cookie": access.set_cookie(secret)})

    # --- asked for -----------------------------------------------------------------------------------------------

    async def _state(self, request: Request) -> Answer:
        return as_json(self._studio.state())

    async def _heat(self, request: Request) -> Answer:
        return as_json(self._studio.heat())

    async def _still(self, request: Request) -> Answer:
        seen = request.query.get("seen", "")
        found = await self._studio.next_picture(int(seen) if re.fullmatch(r"\d{1,12}", seen) else -1)
        if found is None:
            raise Bad(HTTPStatus.SERVICE_UNAVAILABLE, "there is no picture now")
        return Answer(content_type="image/jpeg", body=found[1], headers={"X-Picture": str(found[0])})

    async def _stream(self, request: Request) -> Answer:
        if self._studio.is_full:
            raise NotNow("too many watch already; close other tabs")
        content_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
        return Answer(content_type=content_type, stream=self._pictures(request))

    async def _pictures(self, request: Request) -> AsyncGenerator[bytes]:
        """Picture after picture, each the newest, until the session ends. Empty where none comes for a while."""
        number, mark = -1, f"--{_BOUNDARY}\r\n".encode()
        with self._studio.watching():
            yield mark
            while self._is_open(request, active=False):
                found = await self._studio.next_picture(number)
                if found is None:
                    yield b""
                    continue
                number, jpeg = found
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
                # With the next boundary at once: some browsers show a picture only when they see its end.
                yield head + jpeg + b"\r\n" + mark

    async def _choose(self, request: Request) -> Answer:
        self._studio.choose(_decoded(request, Choice).camera)
        return as_json(self._studio.state())

    async def _try(self, request: Request) -> Answer:
        try:
            self._studio.attempt(_decoded(request, Drawing))
        except Unusable as error:
            return _complaints(error)
        return as_json({"complaints": []})

    async def _save(self, request: Request) -> Answer:
        saving = _decoded(request, Saving)
        try:
            self._studio.save(saving.drawing, saving.mark)
        except Unusable as error:
            return _complaints(error)
        except ChangedMeanwhile as error:
            raise Bad(HTTPStatus.CONFLICT, _CHANGED.format(error)) from error
        except (ConfigError, OSError) as error:
            message = f"could not be saved: {error}. May this user write the file and its folder? Use sudo"
            raise Bad(HTTPStatus.INTERNAL_SERVER_ERROR, message) from error
        return as_json(self._studio.state())

    async def _reload(self, request: Request) -> Answer:
        try:
            self._studio.reload()
        except ConfigError as error:
            raise Bad(HTTPStatus.CONFLICT, str(error)) from error
        return as_json(self._studio.state())

    async def _suggest(self, request: Request) -> Answer:
        return as_json(await self._studio.propose())


def _complaints(error: Unusable) -> Answer:
    return as_json({"complaints": error.complaints}, HTTPStatus.UNPROCESSABLE_ENTITY)


def _decoded(request: Request, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.DecodeError as error:
        raise Bad(HTTPStatus.BAD_REQUEST, f"this is not what the page sends: {error}") from error


def _load_files() -> dict[str, Answer]:
    """The page's files, by path; they hold no data, and are open to all who may reach us."""
    found = {}
    for entry in (resources.files(__package__) / "static").iterdir():
        media_type = _MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            path = "/" if entry.name == "index.html" else f"/{entry.name}"
            found[path] = Answer(
                content_type=media_type, body=entry.read_bytes(), headers={"Cache-Control": "no-cache"}
            )
    return found
