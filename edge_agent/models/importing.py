"""Taking in a model's file that was carried here."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from edge_agent.models.known import ModelError, known_by_sha256, known_model
from edge_agent.models.pull import sync_folder
from edge_agent.models.store import file_of, is_name, sha256_of


def import_model(
    source: Path, folder: Path, *, name: str | None = None, check: Callable[[Path], None]
) -> tuple[str, Path]:
    """Copy a file into the models folder. One that is known gets its known name, whatever it is called.

    Args:
        name: for a model that is not known; else it keeps the name of its file.
        check: raises for a file that cannot be used as a model. Known files, recognised by their hash, need none.

    Returns:
        Its name, and where it lies.

    Raises:
        ModelError: it is not to be had under this name.
        OSError: it cannot be read, or the folder cannot be written to.
    """
    if not source.is_file():
        raise ModelError(f"there is no file {source}")
    sha256 = sha256_of(source)
    known = known_by_sha256(sha256)
    name = known.name if known else _own_name(source, name)
    path = file_of(name, folder)
    if path.exists():
        if sha256_of(path) == sha256:
            return name, path
        raise ModelError(f"{path} is there with other content; move it away, or choose a name with --name")
    folder.mkdir(parents=True, exist_ok=True)
    copy = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        shutil.copyfile(source, copy)
        if not known:
            check(copy)
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(copy, path)
    finally:
        copy.unlink(missing_ok=True)
    sync_folder(folder)
    return name, path


def _own_name(source: Path, wanted: str | None) -> str:
    name = wanted or source.stem.lower()
    if not is_name(name):
        raise ModelError(
            f"{name!r} is no name for a model: small letters, digits, '.', '-' and '_', and neither motion nor "
            "bundled; choose one with --name"
        )
    if known_model(name):
        raise ModelError(
            f"{source} is not {name} as it is known: its content is another one; choose another name with --name"
        )
    return name
