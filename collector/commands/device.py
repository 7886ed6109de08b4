"""`stopline-collector device`: which devices may send."""

import argparse
import asyncio
import base64
import binascii
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from collector.commands.database import add_common_options, opened, settings
from collector.db import Settings, make_pool
from collector.errors import SettingError
from collector.fleet.devices import Device, Devices

T = TypeVar("T")
_MAX_FILE_BYTES = 100_000
_STANDARD_INPUT = Path("-")


@dataclass(frozen=True)
class Enrolment:
    """What an agent's `device.json` tells."""

    device: UUID
    name: str
    public_key: bytes
    junction: str | None


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser("device", help="which devices may send")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    adding = actions.add_parser("add", help="let a device send")
    adding.add_argument(
        "file", type=Path, help="the agent's device.json, which holds nothing secret; - is standard input"
    )
    adding.add_argument("--junction", help="where it stands (default: as the file says)")
    adding.add_argument("--timezone", help="of a junction that is made with it, as Europe/Berlin (default: UTC)")
    adding.set_defaults(run=_run_add)
    bridging = actions.add_parser("bridge", help="make a device for a junction's counters that speak only MQTT")
    bridging.add_argument("junction", help="where they stand; the name that is in their topics")
    bridging.add_argument("--timezone", help="of a junction that is made with it, as Europe/Berlin (default: UTC)")
    bridging.set_defaults(run=_run_bridge)
    revoking = actions.add_parser("revoke", help="take nothing more in from a device; what it sent stays")
    revoking.add_argument("device", help="its id")
    revoking.set_defaults(run=_run_revoke)
    listing = actions.add_parser("list", help="the devices, and when they were last heard")
    listing.set_defaults(run=_run_list)
    for action in (adding, bridging, revoking, listing):
        add_common_options(action, makes=action in (adding, bridging))


def _run_add(options: argparse.Namespace) -> int:
    enrolment = read_enrolment(options.file)
    junction = options.junction or enrolment.junction

    async def work(devices: Devices) -> None:
        await devices.add(
            enrolment.device, enrolment.name, enrolment.public_key, junction=junction, timezone=options.timezone
        )

    _with_devices(options, work)
    print(f"{enrolment.name} ({enrolment.device}) may send" + (f", for junction {junction}" if junction else ""))
    return 0


def _run_bridge(options: argparse.Namespace) -> int:
    device, is_new = _with_devices(
        options, lambda devices: devices.add_bridge(options.junction, timezone=options.timezone)
    )
    print(f"{device} {'was made' if is_new else 'is there'}, for what comes by MQTT of {options.junction}")
    return 0


def _run_revoke(options: argparse.Namespace) -> int:
    try:
        device = UUID(options.device)
    except ValueError as error:
        raise SettingError(f"{options.device!r} is no device's id; `device list` shows them") from error
    _with_devices(options, lambda devices: devices.revoke(device))
    print(f"{device} is revoked; nothing more is taken in from it")
    return 0


def _run_list(options: argparse.Namespace) -> int:
    for device in _with_devices(options, lambda devices: devices.list(limit=1_000_000)):
        print(_line(device))
    return 0


def _line(device: Device) -> str:
    heard = device.received_at.isoformat(timespec="seconds") if device.received_at else "never heard"
    return f"{device.id}  {device.status:<8} {heard:<25}  {device.name}  {device.junction_name or '-'}"


def _with_devices(options: argparse.Namespace, work: Callable[[Devices], Awaitable[T]]) -> T:
    async def run(dsn: str) -> T:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return await work(Devices(pool))

    with opened(settings(options), makes=options.makes) as database:
        return asyncio.run(run(database.dsn))


def read_enrolment(file: Path) -> Enrolment:
    """What a `device.json` tells. SettingError names the file, the key, and what is wrong."""
    try:
        with sys.stdin.buffer if file == _STANDARD_INPUT else file.open("rb") as opened_file:
            document = json.loads(opened_file.read(_MAX_FILE_BYTES))
    except OSError as error:
        raise SettingError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingError(f"{file} is not JSON: {error}; give the agent's device.json") from error
    if not isinstance(document, dict):
        raise SettingError(f"{file} holds no object; give the agent's device.json")
    if "private_key" in document:
        raise SettingError(f"{file} holds a private key, which must not leave the device; give its device.json")
    junction = document.get("junction")
    return Enrolment(
        _read(file, document, "device", UUID, "a UUID"),
        _read(file, document, "name", str, "a text"),
        _read(file, document, "public_key", _decode, "32 bytes in base64url"),
        None if junction is None else str(junction),
    )


def _read(file: Path, document: dict[str, Any], key: str, parse: Callable[[str], T], what: str) -> T:
    value = document.get(key)
    if not isinstance(value, str):
        raise SettingError(f"{file}: {key} is missing or no text; it must be {what}")
    try:
        return parse(value)
    except ValueError as error:
        raise SettingError(f"{file}: {key} = {value[:60]!r} is not {what}") from error


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
