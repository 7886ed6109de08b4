"""`stopline-collector junction`: make junctions by files, and list them."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from collector.commands.database import add_common_options, opened, settings
from collector.db import Pool, Settings, make_pool
from collector.errors import ApiProblem, SettingError
from collector.identity.audit import Actor
from collector.junctions.editing import Edited, Editing
from collector.junctions.queries import Junction, read_junctions
from collector.junctions.template import TemplateKind, template
from collector.junctions.wanted import Wanted, read_file
from common.junction_checks import timezone_faults

T = TypeVar("T")
_ALL = 1_000_000
_BY = Actor(None, "stopline-collector", "command line")


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("junction", help="make junctions by files, and list them")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    making = actions.add_parser("template", help="print a file to begin with")
    making.add_argument("name", help="of the junction")
    making.add_argument("--kind", choices=[*TemplateKind], default=TemplateKind.FOUR_WAY, type=TemplateKind)
    making.add_argument("--timezone", default="UTC", help="IANA name (default: UTC)")
    making.set_defaults(run=_run_template)
    importing = actions.add_parser("import", help="make a junction, or change it, by a TOML or JSON file")
    importing.add_argument("file", type=Path, help="the file; - is standard input, as TOML")
    importing.add_argument("--dry-run", action="store_true", help="only tell what would change")
    importing.set_defaults(run=_run_import)
    listing = actions.add_parser("list", help="all junctions")
    listing.set_defaults(run=_run_list)
    for action in (importing, listing):
        add_common_options(action, makes=action is importing)


def _run_template(options: argparse.Namespace) -> int:
    if not 1 <= len(options.name) <= 100:
        raise SettingError("the junction's name has to be 1 to 100 characters long")
    for fault in timezone_faults(options.timezone):
        raise SettingError(str(fault))
    print(template(options.kind, options.name, options.timezone), end="")
    return 0


def _run_import(options: argparse.Namespace) -> int:
    wanted = _read(options.file)
    edited = _with_pool(options, lambda pool: Editing(pool).take_in(wanted, _BY, dry_run=bool(options.dry_run)))
    print("\n".join(_lines(edited, dry_run=bool(options.dry_run))))
    return 0


def _run_list(options: argparse.Namespace) -> int:
    found: list[Junction] = _with_pool(options, lambda pool: read_junctions(pool, limit=_ALL))
    for each in found:
        lights = (each.mode or "lights") if each.has_lights else "no lights"
        print(
            f"{each.name:<32} {each.timezone:<20} {each.state:<7} devices {each.devices:<3} {lights:<16} {each.id}"
        )
    return 0


def _read(path: Path) -> Wanted:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    wanted, faults = read_file(data, is_toml=path.suffix.lower() != ".json")
    if wanted is None:
        told = "\n".join(f"  {fault}" for fault in faults)
        raise SettingError(f"{path}: the junction cannot be so; nothing was changed\n{told}")
    return wanted


def _lines(edited: Edited, *, dry_run: bool) -> list[str]:
    done = {"created": "made", "updated": "changed", "unchanged": "unchanged"}[edited.outcome]
    would = "would be " if dry_run and edited.outcome != "unchanged" else ""
    return [
        f"{edited.name}: {would}{done}",
        *(f"  {one.path}: {_word(one.before)} -> {_word(one.after)}" for one in edited.changes),
        *(f"  note: {note}" for note in edited.notes),
    ]


def _word(value: object) -> str:
    return "nothing" if value is None else f"{value}"


def _with_pool(options: argparse.Namespace, act: Callable[[Pool], Awaitable[T]]) -> T:
    with opened(settings(options), makes=options.makes) as database:
        return asyncio.run(_act(database.dsn, act))


async def _act(dsn: str, act: Callable[[Pool], Awaitable[T]]) -> T:
    async with make_pool(Settings(dsn, min_size=1, max_size=2)) as pool:
        try:
            return await act(pool)
        except ApiProblem as problem:
            told = "".join(f"\n  {one['key']}: {one['message']}" for one in problem.members.get("errors", ()))
            raise SettingError(f"{problem.detail}{told}") from problem
