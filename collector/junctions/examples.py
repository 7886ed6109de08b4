"""Examples and words for the API's description."""

NO_JUNCTION = {404: "There is no such junction, or it is not this user's."}

JUNCTIONS_EXAMPLE = {
    "junctions": [
        {
            "id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
            "name": "Market Square",
            "timezone": "Europe/Berlin",
            "location": None,
            "latitude": None,
            "longitude": None,
            "devices": 4,
            "active_devices": 4,
            "sources": 4,
            "state": "live",
            "received_at": "2026-05-04T10:00:58Z",
            "last_at": "2026-05-04T10:00:57Z",
            "today_from": "2026-05-03T22:00:00Z",
            "counts_today": 8123,
            "has_lights": True,
            "mode": "automatic",
            "access": "operate",
        }
    ],
    "next_offset": None,
}

DETAILS_EXAMPLE = {
    "id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
    "version": "6d1f0b7c2e5a9384",
    "name": "Market Square",
    "timezone": "Europe/Berlin",
    "location": {"name": "Market Square", "latitude": 52.52, "longitude": 13.405, "address": None},
    "description": None,
    "wanted": None,
    "differs": [],
    "unmatched": [
        {
            "why": "gone",
            "lane": "north",
            "detector": "stop_line",
            "sensor": "cam-north",
            "source": "stop",
            "instead": ["stop line"],
        },
        {
            "why": "unused",
            "lane": None,
            "detector": None,
            "sensor": "cam-north",
            "source": "stop line",
            "instead": [],
        },
    ],
    "lanes": [{"name": "north", "approach": "north", "saturation_flow_vph": 1800.0, "metadata": {}}],
    "devices": [
        {
            "id": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01",
            "name": "pi north",
            "status": "active",
            "received_at": "2026-05-04T10:00:58Z",
            "state": "live",
            "drives_lights": True,
            "sensors": ["cam-north"],
        }
    ],
    "awaited_devices": [],
    "access": "operate",
    "has_lights": True,
    "mode": "automatic",
    "mode_at": "2026-05-04T05:00:00Z",
    "state": "live",
    "metadata": {},
}
FILE_EXAMPLE = {
    "name": "Market Square",
    "timezone": "Europe/Berlin",
    "location": {"latitude": 52.52, "longitude": 13.405},
    "devices": ["pi north"],
}
EDITED_EXAMPLE = {
    "id": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
    "name": "Market Square",
    "version": "b20c9a41d7e6f358",
    "outcome": "updated",
    "dry_run": False,
    "changes": [{"path": "plans[day].stages[north].green_s", "before": 15.0, "after": 20.0}],
    "notes": [],
}
COMMAND_EXAMPLE = {
    "id": "0198f3a2-7a4e-7c3b-9d55-0123456789ab",
    "junction": "8f3f9a70-1f9d-4a7c-8a50-3f1f0c1e2d3a",
    "device": "5d1c0e0a-7c1b-4d43-8f34-6f2c2b0c7d01",
    "mode": "manual_override",
    "settings": {"cycle_s": 70.0, "lane_green_s": {"north": 40.0}, "expires_s": 3600.0},
    "by": "ada",
    "why": "the fair",
    "issued_at": "2026-05-04T10:00:00Z",
    "expires_at": "2026-05-04T10:02:00Z",
    "state": "applied",
    "delivered_at": "2026-05-04T10:00:00.1Z",
    "settled_at": "2026-05-04T10:00:00.4Z",
    "detail": None,
}
PREVIEW_EXAMPLE = {
    "accepted": True,
    "reason": "",
    "cycle_s": 70.0,
    "stages": [
        {"stage": "ns", "lanes": ["north", "south"], "green_s": 40.0, "yellow_s": 3.0, "red_clearance_s": 2.0},
        {"stage": "ew", "lanes": ["east", "west"], "green_s": 20.0, "yellow_s": 3.0, "red_clearance_s": 2.0},
    ],
    "lane_green_s": {"north": 40.0, "east": 20.0, "south": 40.0, "west": 20.0},
    "computed_lanes": ["east", "west"],
}
OVERRIDE_EXAMPLE = {
    "id": "9a1f6f0e-3c55-4b7e-8a3e-0d6e3f1f2b11",
    "origin": "collector",
    "command": "0198f3a2-7a4e-7c3b-9d55-0123456789ab",
    "user": "6ec0bd7f-11c0-43da-975e-2a8ad9ebae0b",
    "by": "ada",
    "mode": "manual_override",
    "settings": {"cycle_s": 70.0, "lane_green_s": {"north": 40.0}, "expires_s": 3600.0},
    "why": "the fair",
    "ordered_at": "2026-05-04T10:00:00Z",
    "began_at": "2026-05-04T10:00:00.4Z",
    "expires_at": "2026-05-04T11:00:00.4Z",
    "ended_at": "2026-05-04T10:30:00Z",
    "ended_by": "order",
    "duration_s": 1799.6,
}
