"""What may be sent to the API, by operation: examples for its description. A test sends each of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_PASSWORD = "three quiet green lamps"
_MODE = {
    "mode": "manual_override",
    "cycle_s": 90,
    "lane_green_s": {"north": 40, "south": 40},
    "expires_s": 1800,
    "why": "the fair",
}

BODIES: Mapping[str, Any] = MappingProxyType(
    {
        "change_device": {"name": "pi north"},
        "mark_rejects_seen": {"until": "2026-05-04T10:00:00Z"},
        "createJunction": {
            "name": "Market Square",
            "timezone": "Europe/Berlin",
            "location": {"latitude": 52.52, "longitude": 13.405, "address": "Market Square 1"},
            "devices": ["pi north"],
        },
        "changeJunction": {"location": {"latitude": 52.52, "longitude": 13.405}},
        "orderMode": _MODE,
        "previewMode": _MODE,
        "post_logs": {
            "level": "info",
            "action": "loop_repaired",
            "message": "The loop of lane 2 was cut anew.",
            "context": {"lane": "north"},
        },
        "create_user": {"name": "vic", "password": _PASSWORD, "role": "operator"},
        "invite": {"role": "viewer", "days": 7},
        "login": {"name": "ada", "password": _PASSWORD},
        "logout": {"refresh_token": "mXc1..."},
        "refresh": {"refresh_token": "mXc1..."},
        "change_password": {"old_password": _PASSWORD, "new_password": "a bus waits at the stop line"},
        "create_api_token": {"name": "nightly report", "role": "viewer", "days": 90},
        "register": {"name": "vic", "password": _PASSWORD, "invitation": "Jx0h..."},
        "change_user": {"role": "operator", "all_junctions": False},
        "grant_junction": {"level": "operate"},
        "reset_password": {"password": "a bus waits at the stop line"},
    }
)
