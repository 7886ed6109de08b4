"""The agent's status as people read it: a page, and one line for a terminal. Pure."""

import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec

_STYLE = """
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#111;background:#fff}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.4rem 0 .3rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ccc}
td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a40000;font-weight:600}.ok{color:#0a5d0a}
small{color:#555}
@media(prefers-color-scheme:dark){body{color:#eee;background:#111}th,td{border-color:#444}.bad{color:#ff8a80}
.ok{color:#8fdc8f}small{color:#aaa}}
"""
_RATE = {"camera": "fps", "reader": "readings/s"}


LIGHTS_OLD_S = 3.0
"""The lights tell once a second what they show; what is older may not be so any more."""


class LineStatus(msgspec.Struct, frozen=True):
    """What one line, zone or turn counted today; `truth` where a simulator knows it."""

    name: str
    total: int
    by_direction: dict[str, int]
    by_class: dict[str, int]
    truth: int | None = None
    speed_mean_mps: float | None = None
    """Where the camera is calibrated."""


class ZoneStatus(msgspec.Struct, frozen=True):
    """What is in a zone now: `n`, of which `n_standing` stand and the others move."""

    name: str
    n: int
    n_standing: int
    capacity: int | None = None


class CameraStatus(msgspec.Struct, frozen=True):
    """One camera."""

    name: str
    state: str
    detail: str
    fps: float | None
    latency_ms: float | None
    dropped: int
    restarts: int
    size_px: tuple[int, int] | None
    lines: list[LineStatus]
    zones: list[ZoneStatus] = []
    kind: str = "camera"
    """Or `reader`: of tags."""


class OutboxStatus(msgspec.Struct, frozen=True):
    """What waits for the collector."""

    waiting: int
    size_bytes: int
    dropped: int
    durable: bool
    trouble: str | None


class SyncStatus(msgspec.Struct, frozen=True):
    """How delivering goes. `mend` says what to do about `trouble`."""

    collector: str
    phase: str
    delivered: int
    rejected: int
    last_success_ms: int | None
    trouble: str | None
    mend: str | None
    retry_in_s: float | None


class LightsStatus(msgspec.Struct, frozen=True):
    """What the lights show, as their daemon told last. None: it told nothing yet."""

    connected: bool
    trouble: str
    age_s: float | None
    mode: str | None = None
    stage: str | None = None
    plan: str | None = None
    algorithm: str = ""
    aspects: dict[str, str] = {}
    fault: str = ""
    note: str = ""
    records: int = 0
    """Taken over from them since the start."""


class OrdersStatus(msgspec.Struct, frozen=True):
    """Orders to the lights from the collector. `phase` as in `SyncStatus`."""

    taken: bool
    phase: str = ""
    trouble: str | None = None
    mend: str | None = None
    last: str = ""
    """What became of the last one since the start."""


class Status(msgspec.Struct, frozen=True):
    """All that is shown. Holds no secrets: anybody on the network may see it."""

    name: str
    junction: str | None
    version: str
    device: str
    now_ms: int
    started_ms: int
    clock_synced: bool
    clock_error_ms: int | None
    temperature_c: float | None
    cpu_percent: float | None
    memory_percent: float | None
    rss_mb: float | None
    disk_free_mb: float | None
    throttled: str | None
    cameras: list[CameraStatus]
    outbox: OutboxStatus
    sync: SyncStatus | None
    readers: list[CameraStatus] = []
    """Tag readers; their `fps` are readings a second, and what they dropped are ghosts."""
    lights: LightsStatus | None = None
    """None: no lights are driven from this machine."""
    orders: OrdersStatus | None = None
    """None likewise."""


def complaints(status: Status) -> list[str]:
    """What somebody should look at, most pressing first."""
    sensors = [*status.cameras, *status.readers]
    found = [complaint for sensor in sensors if (complaint := _camera_complaint(sensor))]
    found += _lights_complaints(status.lights)
    if status.outbox.trouble:
        found.append(f"outbox: {status.outbox.trouble}")
    if status.outbox.dropped:
        found.append(f"outbox: {status.outbox.dropped} records had to be dropped since it was made")
    if status.sync is not None and status.sync.trouble:
        found.append(f"collector: {status.sync.trouble}. {status.sync.mend or ''}".rstrip())
    elif status.orders is not None and status.orders.trouble:
        found.append(f"orders from the collector: {status.orders.trouble}. {status.orders.mend or ''}".rstrip())
    if not status.clock_synced:
        found.append("clock: not synchronised; times are put right when the collector or NTP tells the time")
    if status.throttled not in (None, "no"):
        found.append(f"machine: {status.throttled}; check power supply and cooling")
    return found


def _lights_complaints(lights: LightsStatus | None) -> list[str]:
    if lights is None:
        return []
    found = [f"lights: fault, they flash red: {lights.fault}"] if lights.connected and lights.fault else []
    if not lights.connected:
        found.append(f"lights: {lights.trouble}. What they show is not known here; look at them")
    elif lights.trouble:
        found.append(f"lights: {lights.trouble}")
    elif lights.age_s is not None and lights.age_s > LIGHTS_OLD_S:
        found.append(f"lights: their daemon has said nothing for {lights.age_s:.0f} s")
    return found


def _camera_complaint(camera: CameraStatus) -> str:
    if camera.state in ("ok", "starting", "paused"):
        return f"{camera.kind} {camera.name}: {camera.detail}" if camera.state == "ok" and camera.detail else ""
    return f"{camera.kind} {camera.name}: {camera.state}{f' ({camera.detail})' if camera.detail else ''}"


def as_html(status: Status, zone: tzinfo | None) -> str:
    """The page. It loads nothing from anywhere and renews itself."""
    title = html.escape(f"{status.name} - Stopline agent")
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>",
        '<meta name=viewport content="width=device-width,initial-scale=1"><meta http-equiv=refresh content=5>',
        f"<style>{_STYLE}</style><h1>{html.escape(status.name)}</h1>",
        f"<p>{html.escape(status.junction or '')} <small>Stopline {html.escape(status.version)}, running since "
        f"{_clock(status.started_ms, zone)}; now {_clock(status.now_ms, zone)}</small></p>",
        _complaints_html(complaints(status)),
        *([_lights_html(status.lights)] if status.lights else []),
        *([_rows({"orders from the collector": _orders(status.orders)})] if status.orders else []),
        *(_camera_html(camera) for camera in [*status.cameras, *status.readers]),
        "<h2>Delivery</h2>",
        _rows(_delivery(status, zone)),
        "<h2>Machine</h2>",
        _rows(_machine(status)),
        f"<p><small>device {html.escape(status.device)}, <a href=/status.json>status.json</a></small></p></html>",
    ]
    return "\n".join(parts)


def as_line(status: Status) -> str:
    """One line for a terminal."""
    cameras = ", ".join(
        f"{camera.name} {camera.state} {_number(camera.fps, _RATE[camera.kind])}: "
        + (" ".join(f"{line.name} {line.total}" for line in camera.lines) or "nothing counted")
        for camera in [*status.cameras, *status.readers]
    )
    sync = f"collector {status.sync.phase}" if status.sync else "no collector"
    bad = complaints(status)
    return f"{cameras or 'no camera'} | {status.outbox.waiting} waiting, {sync}" + (f" | {bad[0]}" if bad else "")


def _complaints_html(found: Sequence[str]) -> str:
    if not found:
        return "<p class=ok>All is well.</p>"
    return "<ul>" + "".join(f"<li class=bad>{html.escape(text)}</li>" for text in found) + "</ul>"


def _lights_html(lights: LightsStatus) -> str:
    fresh = lights.connected and lights.age_s is not None and lights.age_s <= LIGHTS_OLD_S
    css = "ok" if fresh and not lights.fault else "bad"
    state = (lights.mode or "unknown") if fresh else "not known now"
    head = f"<h2>Lights: <span class={css}>{html.escape(state)}</span></h2>"
    if lights.age_s is None:
        return head
    rows = {
        "told": f"{lights.age_s:.1f} s ago",
        "stage": lights.stage or "none",
        "plan": " by ".join(filter(None, (lights.plan or "none", lights.algorithm))),
        **{name: aspect.replace("_", " ") for name, aspect in sorted(lights.aspects.items())},
        **({"fault": lights.fault} if lights.fault else {}),
        **({"note": lights.note} if lights.note else {}),
    }
    return head + _rows(rows)


def _orders(orders: OrdersStatus) -> str:
    if not orders.taken:
        return "are not taken"
    state = "cannot be fetched now" if orders.trouble else "are taken"
    return f"{state}; the last one: {orders.last}" if orders.last else state


def _figures(camera: CameraStatus) -> str:
    rate = _number(camera.fps, _RATE[camera.kind])
    if camera.kind == "reader":
        return f"{rate}, {camera.dropped} ghosts"
    size = f"{camera.size_px[0]} x {camera.size_px[1]}" if camera.size_px else "?"
    return f"{size} px, {rate}, model {_number(camera.latency_ms, 'ms')}, {camera.dropped} pictures skipped"


def _camera_html(camera: CameraStatus) -> str:
    css = "ok" if camera.state in ("ok", "paused") else "bad"
    detail = f"<p>{html.escape(camera.detail)}</p>" if camera.detail else ""
    head = (
        f"<h2>{camera.kind.capitalize()} {html.escape(camera.name)}: "
        f"<span class={css}>{html.escape(camera.state)}</span></h2>"
        f"<p><small>{_figures(camera)}, {camera.restarts} restarts</small></p>{detail}"
    )
    head += "".join(map(_zone_html, camera.zones))
    if not camera.lines:
        return head + "<p>Nothing counted today.</p>"
    rows = "".join(
        f"<tr><td>{html.escape(line.name)}<td class=n>{line.total}<td class=n>{line.by_direction.get('in', 0)}"
        f"<td class=n>{line.by_direction.get('out', 0)}<td>{html.escape(_classes(line.by_class))}"
        f"<td class=n>{'' if line.speed_mean_mps is None else f'{line.speed_mean_mps * 3.6:.0f} km/h'}"
        f"<td class=n>{'' if line.truth is None else line.truth}"
        for line in camera.lines
    )
    speed = "<th>mean speed" if any(line.speed_mean_mps is not None for line in camera.lines) else "<th>"
    truth = "<th>truth" if any(line.truth is not None for line in camera.lines) else "<th>"
    titles = f"<tr><th>Today, since the agent started<th>total<th>in<th>out<th>classes{speed}{truth}"
    return f"{head}<table>{titles}{rows}</table>"


def _zone_html(zone: ZoneStatus) -> str:
    """One zone. What is above its capacity is shown as it is."""
    full = zone.capacity is not None and zone.n > zone.capacity
    room = "" if zone.capacity is None else f" of {zone.capacity}"
    return (
        f"<p>Now in {html.escape(zone.name)}: <span class={'bad' if full else 'ok'}>{zone.n}{room}</span>, "
        f"{zone.n_standing} standing, {zone.n - zone.n_standing} moving</p>"
    )


def _classes(by_class: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(by_class.items()))


def _delivery(status: Status, zone: tzinfo | None) -> dict[str, str]:
    outbox, sync = status.outbox, status.sync
    rows = {"waiting": f"{outbox.waiting} records, {outbox.size_bytes / 1e6:.1f} MB"}
    rows["on disk"] = "yes" if outbox.durable else "no"
    if sync is None:
        return {**rows, "collector": "none is set: records wait here"}
    rows["collector"] = f"{sync.collector}: {sync.phase}"
    rows["delivered"] = f"{sync.delivered} since the start, {sync.rejected} put aside there"
    rows["last success"] = _clock(sync.last_success_ms, zone) if sync.last_success_ms else "never"
    if sync.retry_in_s is not None:
        rows["next attempt"] = f"within {sync.retry_in_s:.0f} s"
    return rows


def _machine(status: Status) -> dict[str, str]:
    clock = "synchronised" if status.clock_synced else "not synchronised"
    return {
        "clock": clock + (f", within {status.clock_error_ms} ms" if status.clock_error_ms is not None else ""),
        "processor": f"{_number(status.cpu_percent, '%')}, {_number(status.temperature_c, 'C')}",
        "memory": f"{_number(status.memory_percent, '%')} used; agent and cameras {_number(status.rss_mb, 'MB')}",
        "disk free": _number(status.disk_free_mb, "MB"),
        "power": status.throttled or "unknown",
    }


def _rows(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><th>{html.escape(key)}<td>{html.escape(value)}" for key, value in rows.items())
    return f"<table>{cells}</table>"


def _number(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:g} {unit}"


def _clock(at_ms: int, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def as_json(status: Status) -> bytes:
    """For machines: the same, with the complaints."""
    tree: dict[str, Any] = msgspec.to_builtins(status)
    return msgspec.json.encode({**tree, "complaints": complaints(status)})
