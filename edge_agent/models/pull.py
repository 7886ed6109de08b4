"""Fetching a model: resumed after a break, checked before it is used, put in its place in one step."""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import httpx

from edge_agent.models.known import KnownModel, ModelError
from edge_agent.models.store import file_of, sha256_of

TIMEOUT_S = 30.0
ATTEMPTS = 5
_SPARE_BYTES = 1_000_000
_PARTIAL, _OK, _BEYOND_THE_END = 206, 200, 416
_WORTH_A_RETRY = (408, 429, 500, 502, 503, 504)

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes that are wanted."""


class _Broken(Exception):
    """The transfer broke off; what came is kept, and it goes on from there."""


def pull(
    model: KnownModel,
    folder: Path,
    *,
    base: str | None = None,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch a model into a folder. What is there already and right is left alone.

    Args:
        base: fetch the file of the same name from below this address instead, as from a mirror.
        sleep: waits so many seconds between two attempts.

    Returns:
        The file.

    Raises:
        ModelError: it cannot be had, or is not what it should be; then nothing of it is kept.
        OSError: the folder cannot be written to.
    """
    path = file_of(model.name, folder)
    if path.exists():
        if sha256_of(path) == model.sha256:
            return path
        raise ModelError(
            f"{path} is there and is not {model.name} as it is known; move it away, or fetch into another folder "
            "with --to"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _check_room(model, folder)
    url = f"{base.rstrip('/')}/{model.remote_name}" if base else model.url
    part = path.with_name(f"{path.name}.part")
    with _alone_with(part) as file:
        resumed = _fetch_all(model, url, file, progress, sleep)
        if not _is(model, part) and resumed:
            # What was there from an earlier day may have been of another file.
            file.truncate(0)
            _fetch_all(model, url, file, progress, sleep)
        if not _is(model, part):
            found = sha256_of(part)
            part.unlink()
            raise ModelError(
                f"{url} is not {model.name}: its sha256 is {found}, and {model.sha256} is expected; nothing was "
                "kept. A proxy or a captive portal may have answered instead; or the file was changed there"
            )
        _put_in_place(file, part, path)
    return path


def _fetch_all(
    model: KnownModel, url: str, file: BinaryIO, progress: Progress | None, sleep: Callable[[float], None]
) -> bool:
    """Fetch what is missing, over as many breaks as it takes. Returns whether something was there before."""
    resumed = file.seek(0, os.SEEK_END) > 0
    attempt = 0
    while file.seek(0, os.SEEK_END) < model.n_bytes:
        before = file.tell()
        try:
            _fetch(model, url, file, progress)
        except _Broken as error:
            # As long as something comes each time, it will be whole in the end.
            attempt = 1 if file.seek(0, os.SEEK_END) > before else attempt + 1
            if attempt >= ATTEMPTS:
                raise ModelError(_offline(model, url, str(error))) from error
            sleep(min(30.0, 2.0 ** (attempt - 1)))
    return resumed


def _fetch(model: KnownModel, url: str, file: BinaryIO, progress: Progress | None) -> None:
    """One request for what is missing.

    Raises:
        _Broken: it may be tried again.
        ModelError: there is no use in that.
    """
    here = file.seek(0, os.SEEK_END)
    headers = {"Range": f"bytes={here}-"} if here else {}
    # Compressed on the way, its bytes could not be counted.
    headers["Accept-Encoding"] = "identity"
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S) as answer:
            _begin(model, url, answer, file, here)
            # As it comes: what is gathered into larger pieces first would be lost when it breaks off.
            for chunk in answer.iter_raw():
                file.write(chunk)
                if file.tell() > model.n_bytes:
                    raise _TooLong
                if progress:
                    progress(file.tell(), model.n_bytes)
    except _TooLong:
        file.truncate(0)
        raise ModelError(
            f"{url} is not {model.name}: it is larger than {model.n_bytes:,} bytes; nothing was kept"
        ) from None
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise ModelError(f"{url} is no address that models can be fetched from: {error}") from error
    except httpx.HTTPError as error:
        raise _Broken(str(error) or type(error).__name__) from error
    if file.tell() < model.n_bytes:
        raise _Broken("the server ended too early")


class _TooLong(Exception):
    pass


def _begin(model: KnownModel, url: str, answer: httpx.Response, file: BinaryIO, here: int) -> None:
    """See what the server is going to send, and where in the file it belongs. What is here stays until then."""
    code = answer.status_code
    if code in _WORTH_A_RETRY:
        raise _Broken(f"the server answered {code}")
    if code not in (_OK, _PARTIAL, _BEYOND_THE_END):
        raise ModelError(_offline(model, url, f"the server answered {code} {answer.reason_phrase}".rstrip()))
    whole = _whole_length(answer)
    if whole not in (None, model.n_bytes):
        raise ModelError(
            f"{url} is not {model.name}: it has {whole:,} bytes, and {model.n_bytes:,} are expected; nothing of "
            "it was kept"
        )
    if code == _PARTIAL and answer.headers.get("content-range", "").startswith(f"bytes {here}-"):
        return
    # It sends everything, or something else than was asked for: begin anew.
    file.truncate(0)
    if code != _OK:
        raise _Broken(f"the server answered a request for a part with {code}")


def _whole_length(answer: httpx.Response) -> int | None:
    """How long the whole file is, if the server tells."""
    told = answer.headers.get("content-length" if answer.status_code == _OK else "content-range", "")
    number = told.rpartition("/")[2]
    return int(number) if number.isdigit() else None


def _offline(model: KnownModel, url: str, what: str) -> str:
    return (
        f"{url} cannot be fetched: {what}. Without a network, fetch it elsewhere, carry it here, and run: "
        f"stopline-agent models import {model.remote_name}"
    )


def _check_room(model: KnownModel, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < model.n_bytes + _SPARE_BYTES:
        raise ModelError(f"{folder} has {free:,} bytes left, and {model.name} needs {model.n_bytes:,}; make room")


def _is(model: KnownModel, part: Path) -> bool:
    return part.stat().st_size == model.n_bytes and sha256_of(part) == model.sha256


@contextlib.contextmanager
def _alone_with(part: Path) -> Iterator[BinaryIO]:
    """The file that is being fetched, for one process at a time. An empty one is not left behind."""
    with part.open("ab+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"{part} is being fetched by another process; wait for it") from None
        try:
            yield file
        finally:
            if part.exists() and part.stat().st_size == 0:
                part.unlink()


def _put_in_place(file: BinaryIO, part: Path, path: Path) -> None:
    os.fsync(file.fileno())
    os.replace(part, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
