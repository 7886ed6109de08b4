"""Where models lie, and how a name becomes a file."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from edge_agent.models.known import ModelError, known_model

BUNDLED = "bundled"
MOTION = "motion"
FOLDER = "models"
"""Within the state folder of an agent."""
SUFFIX = ".onnx"
VARIABLE = "STOPLINE_MODELS_DIR"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BUNDLED_FILE = "street.onnx"


def is_name(model: str) -> bool:
    """Whether this names a model of a models folder, and is no path."""
    return bool(_NAME.fullmatch(model)) and not model.endswith(SUFFIX) and model not in (BUNDLED, MOTION)


def file_of(name: str, folder: Path) -> Path:
    """Where the model of this name lies in a models folder, there or not."""
    return folder / f"{name}{SUFFIX}"


def user_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The models folder where no configuration names one: as the environment says, else in the user's data."""
    if named := environ.get(VARIABLE):
        return Path(named)
    data = environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return Path(data) / "stopline" / FOLDER


def model_path(model: str, folder: Path | None = None) -> Path:
    """The file of a model: `bundled`, a name in a models folder, or a path.

    Args:
        folder: of pulled models; None: as `user_folder` says.

    Raises:
        ModelError: a name leads to no file. A path is not looked at.
    """
    if model == BUNDLED:
        return _bundled()
    if not is_name(model):
        return Path(model)
    path = file_of(model, folder or user_folder())
    if path.is_file():
        return path
    if known_model(model):
        raise ModelError(
            f"there is no {path}; fetch it with: stopline-agent models pull {model} --to {path.parent}"
        )
    raise ModelError(
        f"there is no model {model!r} in {path.parent}; give the path of an .onnx file, a name that "
        "`stopline-agent models list` shows, or motion, which needs none"
    )


def sha256_of(path: Path) -> str:
    """The hash of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bundled() -> Path:
    # Only here: the agent's main process has no use for it.
    import importlib.resources

    packaged = importlib.resources.files("edge_agent") / FOLDER / _BUNDLED_FILE
    path = Path(str(packaged))
    if not path.is_file():
        raise ModelError(
            "this installation has no bundled model; give the path of an .onnx file, the name of one that "
            "`stopline-agent models list` shows, or motion, which needs none"
        )
    return path
