"""Models that find vehicles: fetch one, take in one of your own, and see what it can do here.

list     what can be fetched and what is here, with licences and sizes
pull     fetch one of those by its name; broken off, it goes on where it was
import   take in a file that was carried here; a known one is recognised by its content
resize   make one for another input size: smaller for a slow Pi, larger for vehicles that are far away
info     what a file or a model is, and how it does on a picture with 1, 2 and 4 threads
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.commands.options import DEFAULT_CONFIG, Subparsers, add_command
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.drivers.detectors.choices import DECODERS, NORMALISATIONS, ModelOptions, parse_input_size
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from edge_agent.models.known import KNOWN_MODELS, KnownModel, ModelError, known_by_sha256, known_model
from edge_agent.models.store import BUNDLED, SUFFIX, VARIABLE, file_of, model_path, sha256_of, user_folder

THREADS = (1, 2, 4)
_NOTHING = (
    "nothing. If there are vehicles in the picture, the model does not suit it, is fed wrongly (normalisation), "
    "or lost too much when it was quantised: try the float32 file"
)
_OWN_LICENCE = "Apache-2.0"


def add(subparsers: Subparsers) -> None:
    """Add `models` to the command line."""
    parser = add_command(subparsers, "models", __doc__, run)
    ways = parser.add_subparsers(dest="what", required=True, metavar="list|pull|import|resize|info")
    _add_list(ways)
    _add_pull(ways)
    _add_import(ways)
    _add_resize(ways)
    _add_info(ways)


def _add_list(ways: Subparsers) -> None:
    listing = ways.add_parser("list", help="what can be fetched, and what is here")
    _add_folder(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    listing.set_defaults(way=_list)


def _add_pull(ways: Subparsers) -> None:
    pulling = ways.add_parser("pull", help="fetch a model by its name")
    pulling.add_argument("name", metavar="NAME", choices=[m.name for m in KNOWN_MODELS], help="as `list` shows it")
    pulling.add_argument(
        "--from", dest="base", metavar="URL-BASE", help="from a mirror: the same file name below it"
    )
    _add_folder(pulling)
    pulling.set_defaults(way=_pull)


def _add_import(ways: Subparsers) -> None:
    importing = ways.add_parser("import", help="take in a file that was carried here")
    importing.add_argument("file", metavar="FILE", type=Path)
    importing.add_argument("--name", help="for a model that is not known (default: the name of its file)")
    _add_folder(importing)
    _add_options(importing)
    importing.set_defaults(way=_import)


def _add_resize(ways: Subparsers) -> None:
    resizing = ways.add_parser("resize", help="make a model for another input size, and try whether it works")
    resizing.add_argument("model", metavar="FILE|NAME", help="as for `info`")
    resizing.add_argument("size", metavar="WxH", help="what it shall see, such as 416x256 for a wide picture")
    resizing.add_argument("--name", help="of the new model (default: the old name and the size)")
    resizing.add_argument(
        "--picture", type=Path, metavar="P", help="compare on this (default: a simulated street)"
    )
    _add_folder(resizing)
    _add_options(resizing, size=False)
    resizing.set_defaults(way=_resize, input_size=None)


def _add_info(ways: Subparsers) -> None:
    info = ways.add_parser("info", help="what a model is, and how it does on a picture")
    info.add_argument(
        "model", metavar="FILE|NAME", help="an .onnx file, the name of a model that is here, or bundled"
    )
    info.add_argument("--picture", type=Path, metavar="P", help="try it on this (default: a simulated street)")
    info.add_argument("--json", action="store_true", help="print one JSON object")
    _add_folder(info)
    _add_options(info)
    info.set_defaults(way=_info)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", "--models-dir", dest="folder", type=Path, metavar="DIR",
        help=f"the models folder (default: ${VARIABLE}; the state folder of --config, or of {DEFAULT_CONFIG} if "
        "that is there; else ~/.local/share/stopline/models)",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="F", help="use the models folder of this configuration")


def _add_options(parser: argparse.ArgumentParser, *, size: bool = True) -> None:
    add_option = parser.add_argument
    add_option("--decoder", choices=DECODERS, help="how it is read, where its outputs do not tell")
    add_option("--normalisation", choices=NORMALISATIONS, help="how it wants its pixels, if not as is usual")
    if size:
        add_option("--input-size", metavar="WxH", help="what it sees, if its file leaves that open")
    add_option("--provider", default="cpu", metavar="P", help="what runs it (default: cpu)")


def run(options: argparse.Namespace) -> int:
    """Do it, or say why not."""
    way: Callable[[argparse.Namespace, Path], int] = options.way
    try:
        return way(options, _folder(options))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except (ModelError, ValueError) as error:
        _complain(str(error))
    except OSError as error:
        _complain(f"{error.filename or _folder(options)}: {error.strerror}")
    return EXIT_FAILED


def _complain(text: str) -> None:
    print(f"stopline-agent models: {text}", file=sys.stderr)


def _folder(options: argparse.Namespace) -> Path:
    named: Path | None = options.folder
    if named is not None:
        return named
    config: Path | None = options.config
    if config is None and not os.environ.get(VARIABLE) and os.access(DEFAULT_CONFIG, os.R_OK):
        config = DEFAULT_CONFIG
    return load_config(config, files_must_exist=False).models_dir if config else user_folder()


def _options(options: argparse.Namespace) -> ModelOptions:
    size = parse_input_size(options.input_size) if options.input_size else None
    return ModelOptions(options.decoder, options.normalisation, size, options.provider)


# --- list --------------------------------------------------------------------------------------------------------


def _list(options: argparse.Namespace, folder: Path) -> int:
    rows = [*_bundled_rows(), *(_known_row(model, folder) for model in KNOWN_MODELS), *_other_rows(folder)]
    if options.json:
        print(json.dumps({"folder": str(folder), "models": rows}))
        return EXIT_OK
    print(f"{'':4} {'name':<18} {'MB':>6} {'sees':<9} {'licence':<11} good for")
    for row in rows:
        mark = {True: "here", False: "", None: "BAD"}[row["here"]]
        size = "x".join(map(str, row["input_px"])) if row["input_px"] else ""
        print(
            f"{mark:4} {row['name']:<18} {row['bytes'] / 1e6:>6.1f} {size:<9} {row['licence'] or '?':<11} "
            f"{row['good_for']}"
        )
    print(f"\nhere means {folder}. BAD is a file whose content is not what its name says: move it away.")
    print("Fetch one with `stopline-agent models pull NAME`. A licence is that of the project that publishes it.")
    print("YOLOv5, v8, 11 and 26 can be used too, but are under AGPL-3.0: bring your own file, and mind it.")
    return EXIT_OK


def _bundled_rows() -> list[dict[str, Any]]:
    try:
        path = model_path(BUNDLED)
    except ModelError:
        return []
    return [_file_row(path, BUNDLED, _OWN_LICENCE, "comes with Stopline; needs no download")]


def _known_row(model: KnownModel, folder: Path) -> dict[str, Any]:
    path = file_of(model.name, folder)
    here: bool | None = path.is_file()
    if here and sha256_of(path) != model.sha256:
        here = None
    return {
        "name": model.name,
        "here": here,
        "bytes": model.n_bytes,
        "input_px": list(model.input_px),
        "licence": model.licence,
        "good_for": model.good_for,
        "url": model.url,
        "sha256": model.sha256,
    }


def _other_rows(folder: Path) -> list[dict[str, Any]]:
    """Models that were imported, or put there by hand."""
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return [
        _file_row(path, path.stem, None, "your own; `info` tells more")
        for path in files
        if not path.name.startswith(".") and known_model(path.stem) is None
    ]


def _file_row(path: Path, name: str, licence: str | None, good_for: str) -> dict[str, Any]:
    return {
        "name": name,
        "here": True,
        "bytes": path.stat().st_size,
        "input_px": None,
        "licence": licence,
        "good_for": good_for,
        "url": None,
        "sha256": sha256_of(path),
    }


# --- pull and import ---------------------------------------------------------------------------------------------


def _pull(options: argparse.Namespace, folder: Path) -> int:
    # Only here: HTTP takes a second to load on a small Pi.
    from edge_agent.models.pull import pull

    model = known_model(options.name)
    assert model is not None
    path = pull(model, folder, base=options.base, progress=_progress if sys.stderr.isatty() else None)
    print(f"{model.name} is in {path}: {model.n_bytes:,} bytes, sha256 as expected, {model.licence}")
    print(f'Use it with: model = "{model.name}", or count --model {model.name}')
    return EXIT_OK


def _progress(here: int, wanted: int) -> None:
    end = "\n" if here == wanted else ""
    print(f"\r{100 * here // wanted:3d} % of {wanted / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)


def _import(options: argparse.Namespace, folder: Path) -> int:
    from edge_agent.models.importing import import_model

    name, path = import_model(
        options.file, folder, name=options.name, check=_check(_options(options), options.file)
    )
    known = known_model(name)
    what = f"recognised by its sha256, {known.licence}" if known else "not known, but a model that can be used"
    print(f"{name} is in {path}: {what}")
    return EXIT_OK


def _check(chosen: ModelOptions, source: Path | None = None) -> Callable[[Path], None]:
    """`source`: the file that was given, if what is looked at is a copy of it."""

    def check(path: Path) -> None:
        from edge_agent.drivers.base import DetectorError
        from edge_agent.drivers.detectors.onnx import load_detector

        try:
            load_detector(str(path), options=chosen).close()
        except DetectorError as error:
            told = str(error).replace(str(path), str(source or path))
            raise ModelError(f"it cannot be used: {told}") from error

    return check


# --- resize ------------------------------------------------------------------------------------------------------


def _resize(options: argparse.Namespace, folder: Path) -> int:
    from edge_agent.models.importing import import_model
    from edge_agent.models.resizing import resized

    size_px = parse_input_size(options.size)
    size = f"{size_px[0]}x{size_px[1]}"
    source = model_path(options.model, folder)
    if not source.is_file():
        raise ModelError(f"there is no model file {source}")
    content = resized(source.read_bytes(), size_px)
    name = options.name or f"{options.model if options.model == BUNDLED else source.stem.lower()}-{size}"
    with tempfile.TemporaryDirectory() as aside:
        made = Path(aside) / f"{size}{SUFFIX}"
        made.write_bytes(content)
        name, path = import_model(made, folder, name=name, check=_compare(source, options))
    print(f"{name} is in {path}: it sees {size}, and finds what {source} finds")
    print(f'Use it with: model = "{name}", or count --model {name}; `models info {name}` tells how fast it is')
    return EXIT_OK


def _compare(source: Path, options: argparse.Namespace) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        from edge_agent.drivers.base import DetectorError
        from edge_agent.drivers.detectors.likeness import check_likeness
        from edge_agent.drivers.detectors.trial_picture import pictures_from

        try:
            check_likeness(source, path, pictures_from(options.picture), _options(options))
        except DetectorError as error:
            told = str(error).replace(str(path), f"the model for {options.size}")
            raise ModelError(f"{source} cannot be made to see {options.size}: {told}") from error

    return check


# --- info --------------------------------------------------------------------------------------------------------


def _info(options: argparse.Namespace, folder: Path) -> int:
    path = model_path(options.model, folder)
    if not path.is_file():
        raise ModelError(f"there is no model file {path}")
    told = _about_file(path, bundled=options.model == BUNDLED)
    try:
        told |= _tried(path, options)
    except ModelError as error:
        told["problem"] = str(error)
    print(json.dumps(told) if options.json else _in_words(told))
    return EXIT_FAILED if "problem" in told else EXIT_OK


def _about_file(path: Path, *, bundled: bool) -> dict[str, Any]:
    sha256 = sha256_of(path)
    known = known_by_sha256(sha256)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "sha256": sha256,
        "known": BUNDLED if bundled else known.name if known else None,
        "licence": _OWN_LICENCE if bundled else known.licence if known else None,
    }


def _tried(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    # Only here, so that the other ways do without OpenCV and ONNX Runtime.
    from edge_agent.drivers.base import DetectorError
    from edge_agent.drivers.detectors.trial import try_model
    from edge_agent.drivers.detectors.trial_picture import picture_from

    try:
        picture, shown = picture_from(options.picture)
    except DetectorError as error:
        # Not of the model, which may be good.
        raise ValueError(str(error)) from error
    try:
        trial = try_model(path, picture, THREADS, _options(options))
    except DetectorError as error:
        raise ModelError(str(error)) from error
    return {
        "family": trial.family,
        "decoder": trial.kind,
        "normalisation": trial.normalisation,
        "input_px": list(trial.input_size_px),
        "classes": list(trial.class_names),
        "metadata": {"task": trial.metadata.task, "stride": trial.metadata.stride, **dict(trial.metadata.about)},
        "picture": shown,
        "ms_by_threads": {str(n): round(ms, 1) for n, ms in trial.ms_by_threads.items()},
        "found": [
            {
                "class": trial.class_names[i],
                "score": round(float(s), 3),
                "box_px": [round(float(v), 1) for v in box],
            }
            for box, s, i in zip(trial.found.boxes_px, trial.found.scores, trial.found.class_ids, strict=True)
        ],
    }


def _in_words(told: dict[str, Any]) -> str:
    licence = told["licence"] or dict(told.get("metadata", {})).get("license") or "not known; ask who made it"
    lines = [
        f"{told['file']}: {told['bytes']:,} bytes",
        f"sha256       {told['sha256']}",
        f"known as     {told['known'] or 'nothing: a model of your own'}",
        f"licence      {licence}",
    ]
    if "problem" in told:
        return "\n".join([*lines, f"cannot be used: {told['problem']}"])
    classes: list[str] = told["classes"]
    by_class: dict[str, int] = {}
    for thing in told["found"]:
        by_class[thing["class"]] = by_class.get(thing["class"], 0) + 1
    found = ", ".join(f"{n} {name}" for name, n in by_class.items()) or _NOTHING
    shown = ", ".join(name for name in classes[:10] if name) + (", ..." if len(classes) > 10 else "")
    lines += [
        f'family       {told["family"]} (decoder = "{told["decoder"]}")',
        f"fed with     {'x'.join(map(str, told['input_px']))} pixels, normalisation {told['normalisation']}",
        f"classes      {len(classes)}: {shown}",
        *(f"{key:<12} {value}" for key, value in told["metadata"].items() if value),
        f"picture      {told['picture']}",
        f"found        {found}",
        *(
            f"{n} thread{'' if n == '1' else 's':<5} {ms:g} ms a picture"
            for n, ms in told["ms_by_threads"].items()
        ),
    ]
    return "\n".join(lines)
