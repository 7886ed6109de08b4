"""What all sections of a configuration share: their base, names, and paths beside the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Context:
    """What validation needs to know beside the values.

    Attributes:
        folder: relative paths start here.
        files_must_exist: whether a model or CA file that is not there is an error.
    """

    folder: Path
    files_must_exist: bool = True

    def as_mapping(self) -> dict[str, Any]:
        """In the shape that pydantic hands to validators."""
        return {"folder": self.folder, "files_must_exist": self.files_must_exist}


def _printable(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("must not begin or end with a blank, nor hold control characters")
    return text


def beside_config(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder", Path.cwd())
    return Path(folder) / path.expanduser()


def existing_file(path: Path, info: ValidationInfo) -> Path:
    path = beside_config(path, info)
    if (info.context or {}).get("files_must_exist", True) and not path.is_file():
        raise ValueError(f"there is no file {path}; copy it there or mend the path")
    return path


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
Pixels = Annotated[float, Field(ge=-1.0, le=100_000.0)]
Metres = Annotated[float, Field(ge=-100_000.0, le=100_000.0)]


class Section(BaseModel):
    """Base of all sections: nothing unknown is let through, nothing is converted, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


def settings_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by their names in the file, which need not be Python's: `from` is a word of it."""
    return {field.alias or key: field for key, field in model.model_fields.items()}


def tables(tree: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The tables of an array of tables in an unchecked tree; junk, which is reported elsewhere, becomes an empty
    table."""
    found = tree.get(key)
    return [item if isinstance(item, dict) else {} for item in found] if isinstance(found, list) else []
