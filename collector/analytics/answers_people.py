"""Answers about orders by hand, and about the devices."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from collector.analytics.answers import EXAMPLE_PERIOD, Period


class OverrideTally(msgspec.Struct, frozen=True, kw_only=True):
    """Orders by hand that took the lights, and how long they held in all; what still holds is counted until now.

    `n_refused` were ordered, but have not taken the lights.
    """

    n: int
    n_refused: int
    total_s: float
    by_mode: dict[str, int]
    """How many of each mode."""


class OverridesOfUser(OverrideTally, frozen=True, kw_only=True):
    """Of one user. `user_id` null: given beside the junction, or the user is gone."""

    user_id: UUID | None
    user: str


class OverridesOfDay(OverrideTally, frozen=True, kw_only=True):
    """Of one user on one day there. An order belongs to the day it began on, with its whole length."""

    date: date
    user_id: UUID | None
    user: str


class OverridesOfHour(OverrideTally, frozen=True, kw_only=True):
    """Of all users, by the hour of the day that they began in."""

    hour: int


class OverridesAnswer(Period, frozen=True, kw_only=True):
    """Who took the lights by hand, when, and for how long. Days and hours without an order are left out."""

    total: OverrideTally
    users: list[OverridesOfUser]
    days: list[OverridesOfDay]
    hours: list[OverridesOfHour]


class DeviceState(StrEnum):
    """How long ago a device was last heard."""

    HEALTHY = "healthy"
    """Within 5 minutes."""
    WARNING = "warning"
    """Within 15."""
    CRITICAL = "critical"
    """Longer ago."""
    NEVER = "never"


class DeviceDay(msgspec.Struct, frozen=True):
    """One day there, as far as it is over; the three add up to 1.

    Attributes:
        up_share: the Pi ran, as its later health records tell, and its agent too.
        down_share: it did not, as the agent told when it was back, or as the Pi's own uptime shows.
        unknown_share: it has told nothing of that time yet.
    """

    date: date
    up_share: float
    down_share: float
    unknown_share: float


class DeviceItem(msgspec.Struct, frozen=True):
    """A device, what it last told of itself, and its days. Null: it has not told, or cannot."""

    id: UUID
    name: str
    status: str
    junction_id: UUID | None
    junction: str | None
    state: DeviceState
    received_at: datetime | None
    health_at: datetime | None
    version: str | None
    uptime_s: float | None
    cpu_percent: float | None
    memory_percent: float | None
    temperature_c: float | None
    disk_free_mb: float | None
    clock_synced: bool | None
    throttled: str | None
    outbox_records: int | None
    outbox_dropped: int | None
    up_share: float | None
    """Over all days, of the time that is known."""
    days: list[DeviceDay]


class DeviceTotals(msgspec.Struct, frozen=True):
    """How many devices are in which state, of all that fit, whichever page is shown. Revoked ones are left out."""

    healthy: int
    warning: int
    critical: int
    never: int


class DevicesAnswer(msgspec.Struct, frozen=True):
    """A page of devices. `next_offset` null: it was the last one."""

    as_of: datetime
    totals: DeviceTotals
    devices: list[DeviceItem]
    next_offset: int | None


_TALLY = {"n": 3, "n_refused": 1, "total_s": 2_410.0, "by_mode": {"flash": 1, "manual_override": 2}}
_USER = {"user_id": "b7b0f0e7-31f4-4b35-9a1a-0b3b2f2c9d55", "user": "alice"}
EXAMPLE_OVERRIDES = EXAMPLE_PERIOD | {
    "total": _TALLY,
    "users": [_TALLY | _USER],
    "days": [_TALLY | _USER | {"date": "2026-05-04"}],
    "hours": [_TALLY | {"hour": 7}],
}
EXAMPLE_DEVICES = {
    "as_of": "2026-05-11T06:00:00Z",
    "totals": {"healthy": 4, "warning": 0, "critical": 1, "never": 0},
    "devices": [
        {
            "id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01",
            "name": "pi north",
            "status": "active",
            "junction_id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
            "junction": "Market Square",
            "state": "healthy",
            "received_at": "2026-05-11T05:59:58Z",
            "health_at": "2026-05-11T05:59:30Z",
            "version": "0.9.0",
            "uptime_s": 812_000.0,
            "cpu_percent": 41.0,
            "memory_percent": 38.5,
            "temperature_c": 57.4,
            "disk_free_mb": 21_400.0,
            "clock_synced": True,
            "throttled": None,
            "outbox_records": 3,
            "outbox_dropped": 0,
            "up_share": 0.9991,
            "days": [{"date": "2026-05-10", "up_share": 0.998, "down_share": 0.002, "unknown_share": 0.0}],
        }
    ],
    "next_offset": None,
}
