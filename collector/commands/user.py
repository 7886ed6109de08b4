"""`stopline-collector user`: the first admin, who sees which junctions, and help for who is locked out."""

import argparse
import asyncio
import getpass
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from collector.commands.database import add_common_options, opened, settings
from collector.db import Settings, make_pool
from collector.errors import ApiProblem, SettingError
from collector.identity.audit import COMMAND_LINE
from collector.identity.grants import Grants
from collector.identity.passwords import Passwords
from collector.identity.sessions import Sessions
from collector.identity.shapes import UserName
from collector.identity.users import Level, Role, User, Users

T = TypeVar("T")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
_ALL = 100_000


@dataclass(frozen=True)
class _Parts:
    """What the commands work with."""

    users: Users
    sessions: Sessions
    grants: Grants


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("user", help="who may sign in, and who sees which junctions")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="make a user; the first one should be an admin")
    adding.add_argument("name", type=_name, help="to sign in with")
    adding.add_argument("--role", choices=[*Role], default=Role.ADMIN, type=Role, help="default: admin")
    _add_junction_options(adding)
    adding.add_argument("--all-junctions", action="store_true", help="sees all; an admin does in any case")
    _add_password_options(adding)
    adding.set_defaults(run=_run_add)
    password = actions.add_parser("password", help="set a user's password; all their sessions end")
    password.add_argument("name", help="of the user")
    _add_password_options(password)
    password.set_defaults(run=_run_password)
    granting = actions.add_parser("grant", help="let a user see, or operate, junctions")
    granting.add_argument("name", help="of the user")
    _add_junction_options(granting, required=True)
    granting.set_defaults(run=_run_grant)
    withdrawing = actions.add_parser("withdraw", help="withdraw a user's access to junctions")
    withdrawing.add_argument("name", help="of the user")
    _add_junction_options(withdrawing, required=True, with_level=False)
    withdrawing.set_defaults(run=_run_withdraw)
    listing = actions.add_parser("list", help="all users")
    listing.set_defaults(run=_run_list)
    for action in (adding, password, granting, withdrawing, listing):
        add_common_options(action, makes=action is adding)


def _add_junction_options(
    parser: argparse.ArgumentParser, *, required: bool = False, with_level: bool = True
) -> None:
    parser.add_argument(
        "--junction",
        action="append",
        default=[],
        required=required,
        metavar="NAME",
        help="its name or id; repeatable",
    )
    if with_level:
        parser.add_argument(
            "--level",
            choices=[*Level],
            default=Level.READ,
            type=Level,
            help="how far the access goes; to operate, the user needs the role operator as well (default: read)",
        )


def _add_password_options(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--generate", action="store_true", help="make a password up, and print it; without it, it is asked for"
    )
    given.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def _name(text: str) -> str:
    """A name that its user can sign in with."""
    try:
        return msgspec.convert(text, UserName)
    except msgspec.ValidationError:
        told = f"{text!r} cannot be a name: 1 to 100 characters, all to be seen, with no blank at either end"
        raise argparse.ArgumentTypeError(told) from None


def _run_add(options: argparse.Namespace) -> int:
    password = _password(options)

    async def make(parts: _Parts) -> None:
        # First, so that a junction's name that is wrong leaves no user behind.
        junctions = await _junctions(parts.grants, options.junction)
        user_id = await parts.users.create(
            options.name, password, options.role, all_junctions=options.all_junctions
        )
        for junction_id in junctions.values():
            await parts.grants.grant(COMMAND_LINE, user_id, junction_id, options.level)

    _act_with(options, make)
    print(f"{options.name} may sign in, as {options.role}")
    _tell(options, password)
    if options.role is not Role.ADMIN and not options.all_junctions and not options.junction:
        print(f"{options.name} sees no junction yet: grant some with `stopline-collector user grant`")
    return 0


def _run_password(options: argparse.Namespace) -> int:
    password = _password(options)

    async def change(parts: _Parts) -> None:
        user = await _find(parts.users, options.name)
        await parts.sessions.reset_password(COMMAND_LINE, user.id, password)

    _act_with(options, change)
    print(f"{options.name} has a new password; all sessions ended")
    _tell(options, password)
    return 0


def _run_grant(options: argparse.Namespace) -> int:
    async def grant(parts: _Parts) -> User:
        user = await _find(parts.users, options.name)
        for junction_id in (await _junctions(parts.grants, options.junction)).values():
            await parts.grants.grant(COMMAND_LINE, user.id, junction_id, options.level)
        return user

    user = _act_with(options, grant)
    print(f"{user.name} may {options.level} {', '.join(options.junction)}")
    if options.level is Level.OPERATE and user.role == Role.VIEWER:
        print(f"{user.name} is a viewer, though, and operates nothing until an admin makes them an operator")
    return 0


def _run_withdraw(options: argparse.Namespace) -> int:
    async def withdraw(parts: _Parts) -> User:
        user = await _find(parts.users, options.name)
        for junction_id in (await _junctions(parts.grants, options.junction)).values():
            await parts.grants.withdraw(COMMAND_LINE, user.id, junction_id)
        return user

    user = _act_with(options, withdraw)
    print(f"{user.name} was granted {', '.join(options.junction)} no more")
    if user.all_junctions or user.role == Role.ADMIN:
        print(f"{user.name} sees all junctions, though")
    return 0


def _run_list(options: argparse.Namespace) -> int:
    for user in _act_with(options, lambda parts: parts.users.page(_ALL, 0)):
        seen = f"signed in {user.signed_in_at:%Y-%m-%d %H:%M} UTC" if user.signed_in_at else "never signed in"
        sees = "all junctions" if user.all_junctions or user.role == Role.ADMIN else "granted junctions"
        print(f"{user.name:<24} {user.role:<9} {user.status:<9} {sees:<18} {seen}")
    return 0


async def _find(users: Users, name: str) -> User:
    found = await users.named(name)
    if found is None:
        raise SettingError(f"there is no user {name!r}; `stopline-collector user list` shows all")
    return found


async def _junctions(grants: Grants, names: list[str]) -> dict[str, UUID]:
    """Their ids, by what they were called."""
    found = {}
    for name in names:
        junction_id = await grants.junction_named(name)
        if junction_id is None:
            raise SettingError(f"--junction {name}: there is no such junction; nothing was changed")
        found[name] = junction_id
    return found


def _password(options: argparse.Namespace) -> str:
    if options.generate:
        return generated_password()
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise SettingError("there is no terminal to ask for the password: use --generate or --password-stdin")
    password = getpass.getpass(f"Password of {options.name}: ")
    if getpass.getpass("Once more: ") != password:
        raise SettingError("the two passwords differ; nothing was changed")
    return password


def generated_password() -> str:
    """Four groups of four letters and digits: 79 bits, and easy to type."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def _tell(options: argparse.Namespace, password: str) -> None:
    if options.generate:
        print(f"password: {password}")


def _act_with(options: argparse.Namespace, act: Callable[[_Parts], Awaitable[T]]) -> T:
    with opened(settings(options), makes=options.makes) as database:
        return asyncio.run(_act(database.dsn, act))


async def _act(dsn: str, act: Callable[[_Parts], Awaitable[T]]) -> T:
    async with make_pool(Settings(dsn, min_size=1, max_size=2)) as pool:
        passwords = Passwords()
        parts = _Parts(Users(pool, passwords), Sessions(pool, passwords), Grants(pool))
        try:
            return await act(parts)
        except ApiProblem as problem:
            raise SettingError(problem.detail) from problem
