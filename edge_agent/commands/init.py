"""Write a new configuration with every setting explained.

Asks for what it needs; what is given as an option is not asked for. Without a terminal, or with --yes, nothing is
asked. Nothing is written before the last answer.
"""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.commands.options import DEFAULT_CONFIG, Subparsers, add_command
from edge_agent.config.loading import ConfigError, parse_config
from edge_agent.config.writer import render_config
from edge_agent.count.plan import UsageError, parse_line, parse_zone
from edge_agent.domain.shapes import Line, Zone
from edge_agent.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from edge_agent.safe_file import write_safely

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask for.

    Attributes:
        key: the setting that faults of the answer are told of.
        put: puts the answer into the tree.
        needed: whether it may be left empty.
        usual: what is taken where nothing is answered.
    """

    key: str
    text: str
    put: Callable[[Tree, str], None]
    needed: bool = True
    usual: str = ""


def add(subparsers: Subparsers) -> None:
    """Add `init` to the command line."""
    parser = add_command(subparsers, "init", __doc__, run)
    option = parser.add_argument
    option(
        "--out", type=Path, metavar="F", default=DEFAULT_CONFIG, help=f"the new file (default: {DEFAULT_CONFIG})"
    )
    option("--force", action="store_true", help="write over a file that is there")
    option("--yes", action="store_true", help="ask nothing")
    option("--name", help="name of this device")
    option("--junction", help="the junction that it stands at")
    option("--state-dir", metavar="DIR", help="folder for the outbox and the device's key")
    option("--collector", metavar="URL", help="address of the collector")
    option("--camera", metavar="NAME", help="name of the camera (default: camera)")
    option("--source", help="the camera: rtsp://..., /dev/video0, a video, a folder of pictures, sim:NAME")
    option(
        "--model",
        help="path of an .onnx file, the name of a pulled model, bundled, or motion (default with --yes: motion)",
    )
    option(
        "--line", action="append", default=[], metavar="NAME:X1,Y1,X2,Y2", help="a counting line; may be repeated"
    )
    option("--zone", action="append", default=[], metavar="NAME:X,Y,X,Y,X,Y", help="a zone; may be repeated")
    option("--reader", metavar="DEVICE", help="a tag reader: mfrc522, llrp://HOST, sim")
    option("--reader-name", metavar="NAME", help="name of the reader (default: reader)")


def run(options: argparse.Namespace) -> int:
    """Gather, ask, check, write."""
    if options.out.exists() and not options.force:
        return _fail(f"{options.out} is there already; --force writes over it", EXIT_FAILED)
    # Before anything is asked: answers that cannot be kept are typed in vain.
    if not os.access(options.out.resolve().parent, os.W_OK | os.X_OK):
        return _fail(_unwritable(options.out), EXIT_FAILED)
    try:
        tree = _from_options(options)
    except (UsageError, ValueError) as error:
        return _fail(str(error), EXIT_USAGE)
    if sys.stdin.isatty() and not options.yes:
        try:
            _ask_all(tree, options.out)
        except EOFError:
            return _fail("stopped; nothing is written", EXIT_FAILED)
    text = render_config(tree)
    try:
        parse_config(text, options.out, {})
        _write(options.out.resolve(), text)
    except ConfigError as error:
        return _fail("\n".join(f"{fault.key}: {fault.message}" for fault in error.faults), EXIT_USAGE)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        why = "the disk is full; make room" if full else error.strerror
        return _fail(f"{options.out} cannot be written: {why}", EXIT_FAILED)
    print(f"written: {options.out}\nnext: stopline-agent check --config {options.out}")
    return EXIT_OK


def _fail(text: str, code: int) -> int:
    print(f"stopline-agent init: {text}", file=sys.stderr)
    return code


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and readable to whom the file before was; never to all, since it may hold passwords."""
    before = path.stat() if path.exists() else None
    write_safely(path, text.encode())
    if before is not None:
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(before.st_mode & 0o777)


def _unwritable(path: Path) -> str:
    folder = path.resolve().parent
    if not folder.is_dir():
        return f"there is no folder {folder}; make it, or name another file with --out"
    return f"{folder} may not be written to by this user; name a file elsewhere, as --out /tmp/agent.toml"


def _from_options(options: argparse.Namespace) -> Tree:
    tree: Tree = {
        key: value
        for key, value in (
            ("name", options.name), ("junction", options.junction), ("state_dir", options.state_dir),
        )
        if value
    }  # fmt: skip
    if options.collector:
        tree["collector"] = {"url": options.collector}
    if options.source:
        camera: Tree = {"name": options.camera or "camera", "source": options.source}
        camera |= {"model": options.model} if options.model else {}
        camera["lines"] = [_shape(parse_line(text)) for text in options.line]
        camera["zones"] = [_shape(parse_zone(text)) for text in options.zone]
        tree["cameras"] = [camera]
    elif options.line or options.zone or options.model or options.camera:
        raise UsageError("--camera, --model, --line and --zone belong to a camera; give its --source too")
    if options.reader:
        tree["readers"] = [{"name": options.reader_name or "reader", "device": options.reader}]
    elif options.reader_name:
        raise UsageError("--reader-name belongs to a reader; give its --reader too")
    return tree


def _shape(shape: Line | Zone) -> Tree:
    return {"name": shape.name, "points": [list(point) for point in shape.points_px]}


def _ask_all(tree: Tree, path: Path) -> None:
    """Ask for what is not there yet, each until the answer is good."""
    print("Stopline agent: a new configuration. Enter leaves out what is not needed.")
    for question in _questions(tree):
        _ask(question, tree, path)
    if tree.get("cameras") and "model" not in tree["cameras"][0]:
        _ask(_MODEL, tree, path)
    while tree.get("cameras") and not _is_simulated(tree) and _ask_line(tree, path):
        pass
    if "readers" not in tree:
        text = "Tag reader: mfrc522, llrp://192.168.1.20, or sim"
        put = lambda t, a: t.update(readers=[{"name": "reader", "device": a}])  # noqa: E731
        _ask(Question("readers", text, put, needed=False), tree, path)


def _put_model(tree: Tree, answer: str) -> None:
    camera, *others = tree["cameras"]
    tree["cameras"] = [{**camera, "model": answer}, *others]


_MODEL = Question(
    "cameras",
    "What finds vehicles: bundled (a model for streets), motion (for a camera that looks straight down), or the "
    "path of an .onnx file (Enter: bundled)",
    _put_model,
    usual="bundled",
)


def _questions(tree: Tree) -> list[Question]:
    questions = []
    if "name" not in tree:
        questions.append(Question("name", "Name of this device", lambda t, a: t.update(name=a)))
    if "junction" not in tree:
        questions.append(
            Question("junction", "Junction that it stands at", lambda t, a: t.update(junction=a), needed=False)
        )
    if "collector" not in tree:
        text = "Address of the collector, as https://collector.example.org"
        questions.append(Question("collector", text, lambda t, a: t.update(collector={"url": a}), needed=False))
    if "cameras" not in tree:
        text = "Camera: rtsp://..., /dev/video0, a video, a folder of pictures, or sim:road"
        put = lambda t, a: t.update(cameras=[{"name": "camera", "source": a}])  # noqa: E731
        questions.append(Question("cameras", text, put, needed=False))
    return questions


def _ask(question: Question, tree: Tree, path: Path) -> None:
    while True:
        answer = input(f"{question.text}: ").strip() or question.usual
        if not answer and not question.needed:
            return
        attempt = {**tree}
        question.put(attempt, answer)
        faults = [fault for fault in _faults(attempt, path) if fault.startswith(question.key)]
        if not faults:
            question.put(tree, answer)
            return
        print("\n".join(faults))


def _ask_line(tree: Tree, path: Path) -> bool:
    """Ask for one more counting line; whether there was one."""
    answer = input("A counting line, as NAME:X1,Y1,X2,Y2 in pixels of the picture (Enter: no more): ").strip()
    if not answer:
        return False
    camera = tree["cameras"][0]
    try:
        line = _shape(parse_line(answer))
    except ValueError as error:
        print(error)
        return True
    except UsageError as error:
        print(str(error).removeprefix("--line "))
        return True
    attempt = {**tree, "cameras": [{**camera, "lines": [*camera.get("lines", []), line]}]}
    faults = _faults(attempt, path)
    if faults:
        print("\n".join(faults))
    else:
        camera["lines"] = attempt["cameras"][0]["lines"]
    return True


def _is_simulated(tree: Tree) -> bool:
    return str(tree["cameras"][0]["source"]).startswith("sim:")


def _faults(tree: Tree, path: Path) -> list[str]:
    try:
        parse_config(render_config(tree), path, {})
    except ConfigError as error:
        return [f"{fault.key}: {fault.message}" for fault in error.faults]
    return []
