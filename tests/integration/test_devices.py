"""Which devices may send."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID, uuid4

import pytest

from collector.db import Settings, make_pool
from collector.errors import SettingError
from collector.fleet.devices import Device, Devices

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
ID = UUID("5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01")
T = TypeVar("T")


def _with(dsn: str, use: Callable[[Devices], Awaitable[T]]) -> T:
    async def run() -> T:
        async with make_pool(Settings(dsn, min_size=1)) as pool:
            return await use(Devices(pool))

    return asyncio.run(run())


def _add(dsn: str, name: str = "pi", key: bytes = KEY, **where: str) -> None:
    _with(dsn, lambda devices: devices.add(ID, name, key, **where))


def _list(dsn: str) -> list[Device]:
    return _with(dsn, lambda devices: devices.list())


def test_a_device_is_added_with_its_junction(plain_dsn: str) -> None:
    _add(plain_dsn, junction="Market Square", timezone="Europe/Berlin")
    [device] = _list(plain_dsn)
    assert (device.id, device.name, device.status, device.junction_name) == (ID, "pi", "active", "Market Square")
    assert device.received_at is None


def test_two_devices_stand_at_one_junction(plain_dsn: str) -> None:
    _add(plain_dsn, junction="Market Square")
    _with(plain_dsn, lambda devices: devices.add(uuid4(), "pi 2", KEY, junction="Market Square"))
    assert len({device.junction_id for device in _list(plain_dsn)}) == 1


def test_a_revoked_device_is_trusted_again_when_it_is_added_again(plain_dsn: str) -> None:
    _add(plain_dsn)
    for _ in range(2):
        _with(plain_dsn, lambda devices: devices.revoke(ID))
    [device] = _list(plain_dsn)
    assert device.status == "revoked"
    assert device.revoked_at is not None
    _add(plain_dsn, name="new name", junction="Market Square")
    [device] = _list(plain_dsn)
    assert (device.name, device.status, device.revoked_at) == ("new name", "active", None)
    assert device.junction_name == "Market Square"


def test_devices_are_found_by_name_or_id(plain_dsn: str) -> None:
    _add(plain_dsn)
    _with(plain_dsn, lambda devices: devices.add(uuid4(), "other", KEY))
    assert [device.id for device in _with(plain_dsn, lambda devices: devices.list(["pi"]))] == [ID]
    assert [device.id for device in _with(plain_dsn, lambda devices: devices.list([str(ID)]))] == [ID]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ({"key": OTHER_KEY}, "is known with another key"),
        ({"junction": "Elsewhere"}, "stands at junction 'Market Square', not 'Elsewhere'"),
        (
            {"junction": "Market Square", "timezone": "Asia/Tokyo"},
            "is in the time zone Europe/Berlin, not Asia/Tokyo",
        ),
        ({"key": b"short"}, "has 5 bytes; an Ed25519 key has 32"),
        ({"junction": "New", "timezone": "Mars/Base"}, "time zone 'Mars/Base' is not known; use an IANA name"),
        ({"junction": ""}, "the junction's name '' is not 1 to 100 characters long"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    plain_dsn: str, call: dict[str, str | bytes], told: str
) -> None:
    _add(plain_dsn, junction="Market Square", timezone="Europe/Berlin")
    before = _list(plain_dsn)
    with pytest.raises(SettingError, match=told):
        _add(plain_dsn, **call)  # type: ignore[arg-type]
    assert _list(plain_dsn) == before


def test_revoking_a_stranger_is_told(plain_dsn: str) -> None:
    with pytest.raises(SettingError, match=f"there is no device {ID}"):
        _with(plain_dsn, lambda devices: devices.revoke(ID))
