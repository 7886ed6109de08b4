"""Junctions and demand of our own making: written as plain XML, and built by SUMO's `netconvert`."""

import json
import math
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TLS = "centre"


@dataclass(frozen=True, slots=True)
class Arm:
    """A road that ends at the junction. `angle_deg`: where it comes from, 90 is north."""

    angle_deg: float
    lanes: int = 1
    speed_mps: float = 13.89
    length_m: float = 400.0


@dataclass(frozen=True, slots=True)
class Flow:
    """Vehicles of one arm.

    Attributes:
        profile: (from second, vehicles per hour), in order.
        turns: shares of the other arms, going round counter-clockwise from the right-hand one.
        platoon: vehicles come in groups of so many, 2 s apart: as a signal upstream releases them.
        trucks: share of them.
    """

    profile: tuple[tuple[float, float], ...]
    turns: tuple[float, ...]
    platoon: int = 1
    trucks: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """A junction with its demand. `layout`: `opposites` go together, or each arm alone (`incoming`)."""

    name: str
    arms: tuple[Arm, ...]
    flows: tuple[Flow, ...]
    layout: str = "opposites"
    end_s: int = 3_600
    tags: frozenset[str] = field(default_factory=frozenset)


def build(site: Site, folder: Path, netconvert: str) -> Path:
    """Network, trips and `scenario.json` in a folder of the site's name below `folder`."""
    place = folder / site.name
    place.mkdir(parents=True, exist_ok=True)
    (place / "nodes.xml").write_text(_nodes(site))
    (place / "edges.xml").write_text(_edges(site))
    subprocess.run(
        [
            netconvert,
            *("-n", str(place / "nodes.xml"), "-e", str(place / "edges.xml"), "-o", str(place / "site.net.xml")),
            *("--no-turnarounds", "--tls.layout", site.layout, "--tls.yellow.time", "3", "--tls.allred.time", "0"),
            *("--tls.left-green.time", "6", "--no-warnings"),
        ],
        check=True,
        capture_output=True,
    )
    write_trips(site, 1, place / "trips.rou.xml")
    facts = {"tls": TLS, "begin": 0, "end": site.end_s, "net": "site.net.xml", "routes": "trips.rou.xml"}
    (place / "scenario.json").write_text(json.dumps(facts))
    return place


def write_trips(site: Site, seed: int, file: Path) -> None:
    """The site's demand, as it falls out with a seed from 1 on."""
    file.write_text(_trips(site, seed - 1))


def _nodes(site: Site) -> str:
    lines = [f'<node id="{TLS}" x="0" y="0" type="traffic_light"/>']
    for i, arm in enumerate(site.arms):
        x, y = (arm.length_m * f(math.radians(arm.angle_deg)) for f in (math.cos, math.sin))
        lines.append(f'<node id="n{i}" x="{x:.1f}" y="{y:.1f}" type="priority"/>')
    return f"<nodes>{''.join(lines)}</nodes>"


def _edges(site: Site) -> str:
    lines = []
    for i, arm in enumerate(site.arms):
        facts = f'numLanes="{arm.lanes}" speed="{arm.speed_mps}" priority="{arm.lanes}"'
        lines.append(f'<edge id="in{i}" from="n{i}" to="{TLS}" {facts}/>')
        lines.append(f'<edge id="out{i}" from="{TLS}" to="n{i}" {facts}/>')
    return f"<edges>{''.join(lines)}</edges>"


def _trips(site: Site, seed: int) -> str:
    rng = random.Random(f"{site.name}|{seed}")
    trips = sorted(
        (time_s, i, rng.choices(range(1, len(site.arms)), site.flows[i].turns)[0], _kind(rng, site.flows[i]))
        for i in range(len(site.arms))
        for time_s in _arrivals(rng, site.flows[i], site.end_s)
    )
    lines = [
        '<vType id="car" vClass="passenger" speedDev="0.1"/>',
        '<vType id="truck" vClass="truck" speedDev="0.05"/>',
    ]
    for number, (time_s, i, turn, kind) in enumerate(trips):
        way = f'from="in{i}" to="out{_towards(site, i, turn)}"'
        depart = f'depart="{time_s:.2f}" departLane="best" departSpeed="max"'
        lines.append(f'<trip id="{number}" type="{kind}" {depart} {way}/>')
    return f"<routes>{''.join(lines)}</routes>"


def _kind(rng: random.Random, flow: Flow) -> str:
    return "truck" if rng.random() < flow.trucks else "car"


def _towards(site: Site, arm: int, turn: int) -> int:
    """The arm that is the `turn`-th one counter-clockwise from `arm`."""
    order = sorted(range(len(site.arms)), key=lambda i: site.arms[i].angle_deg)
    return order[(order.index(arm) + turn) % len(order)]


def _arrivals(rng: random.Random, flow: Flow, end_s: int) -> list[float]:
    """Poisson moments of cars or of platoons, by thinning."""
    top_vph = max(vph for _, vph in flow.profile)
    times: list[float] = []
    time_s = 0.0
    while top_vph > 0:
        time_s += rng.expovariate(top_vph / 3_600.0 / flow.platoon)
        if time_s >= end_s:
            break
        now_vph = [vph for start_s, vph in flow.profile if start_s <= time_s][-1]
        if rng.random() < now_vph / top_vph:
            times += [time_s + 2.0 * k for k in range(flow.platoon) if time_s + 2.0 * k < end_s]
    return times
