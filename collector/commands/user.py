"""`stopline-collector user`: the first admin, and help for who is locked out."""

import argparse
import asyncio
import getpass
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from collector.commands.database import add_common_options, opened, settings
from collector.db import Settings, make_pool
from collector.errors import ApiProblem, SettingError
from collector.identity.passwords import Passwords
from collector.identity.users import Role, User, Users

T = TypeVar("T")
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
_ALL = 100_000


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("user", help="who may sign in")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="make a user; the first one should be an admin")
    adding.add_argument("name", help="to sign in with")
    adding.add_argument("--role", choices=[*Role], default=Role.ADMIN, type=Role, help="default: admin")
    _add_password_options(adding)
    adding.set_defaults(run=_run_add)
    password = actions.add_parser("password", help="set a user's password; all their sessions end")
    password.add_argument("name", help="of the user")
    _add_password_options(password)
    password.set_defaults(run=_run_password)
    listing = actions.add_parser("list", help="all users")
    listing.set_defaults(run=_run_list)
    for action in (adding, password, listing):
        add_common_options(action)


def _add_password_options(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--generate", action="store_true", help="make a password up, and print it; without it, it is asked for"
    )
    given.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def _run_add(options: argparse.Namespace) -> int:
    password = _password(options)
    _with_users(options, lambda users: users.create(options.name, password, options.role))
    print(f"{options.name} may sign in, as {options.role}")
    _tell(options, password)
    return 0


def _run_password(options: argparse.Namespace) -> int:
    password = _password(options)

    async def change(users: Users) -> None:
        user = await _find(users, options.name)
        await users.set_password(user.id, password)

    _with_users(options, change)
    print(f"{options.name} has a new password; all sessions ended")
    _tell(options, password)
    return 0


def _run_list(options: argparse.Namespace) -> int:
    for user in _with_users(options, lambda users: users.page(_ALL, 0)):
        seen = f"signed in {user.signed_in_at:%Y-%m-%d %H:%M} UTC" if user.signed_in_at else "never signed in"
        print(f"{user.name:<24} {user.role:<9} {user.status:<9} {seen}")
    return 0


async def _find(users: Users, name: str) -> User:
    found = [user for user in await users.page(_ALL, 0) if user.name.lower() == name.lower()]
    if not found:
        raise SettingError(f"there is no user {name!r}; `stopline-collector user list` shows all")
    return found[0]


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


def _with_users(options: argparse.Namespace, act: Callable[[Users], Awaitable[T]]) -> T:
    with opened(settings(options)) as database:
        return asyncio.run(_act(database.dsn, act))


async def _act(dsn: str, act: Callable[[Users], Awaitable[T]]) -> T:
    async with make_pool(Settings(dsn, min_size=1, max_size=2)) as pool:
        try:
            return await act(Users(pool, Passwords()))
        except ApiProblem as problem:
            raise SettingError(problem.detail) from problem
