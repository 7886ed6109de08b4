"""Examples for the API's description."""

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
    "name": "Market Square",
    "timezone": "Europe/Berlin",
    "location": {"name": "Market Square", "latitude": 52.52, "longitude": 13.405, "address": None},
    "description": None,
    "wanted": None,
    "differs": [],
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
