"""A lane with a camera and a reader, wired as the agent wires them: both into the outbox, each vehicle once to the
lights."""

import asyncio
from pathlib import Path

import pytest

from common.codes import Via
from edge_agent.app import make_parts, make_writer, running
from edge_agent.clock_source import Clock
from edge_agent.config.loading import parse_config
from edge_agent.domain.fusion import FusedCrossing, Sensor
from edge_agent.enrol import load_or_create
from edge_agent.runtime import Progress

CONFIG = """
name = "pi"
state_dir = "{state}"
[[cameras]]
name = "cam"
source = "sim:road"
fps = 8
[[cameras.lines]]
name = "stop"
points = [[0, 200], [640, 200]]
[[readers]]
name = "gate"
device = "sim"
epc = "raw"
gap_s = 0.3
[[fused_lanes]]
name = "lane"
line = "stop"
tags = "gate"
window_s = 0.1
"""


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_both_are_heard(tmp_path: Path) -> None:
    config = parse_config(CONFIG.format(state=tmp_path), tmp_path / "agent.toml", {})
    clock, progress, stop = Clock(), Progress(), asyncio.Event()
    told: list[tuple[str, FusedCrossing]] = []
    heard: set[Via] = set()
    async with make_writer(config, clock) as writer:
        parts = make_parts(config, clock, load_or_create(config.state_dir, "pi", None), writer, progress)
        parts.fuser.listeners.append(lambda lane, crossing: told.append((lane, crossing)))
        parts.tap.listeners.append(lambda count, _: heard.add(count.via))
        async with running(parts, progress) as cameras, asyncio.TaskGroup() as supervision:
            for camera in cameras:
                supervision.create_task(camera.run(stop))
            for reader in parts.readers:
                supervision.create_task(reader.run(stop))
            async with asyncio.timeout(120):
                while {crossing.by for _, crossing in told} != set(Sensor):
                    await asyncio.sleep(0.05)
            stop.set()
    assert {lane for lane, _ in told} == {"lane"}
    assert {Via.CAMERA, Via.RFID} <= heard
    assert all(
        crossing.epc and crossing.epc.startswith("E280") for _, crossing in told if crossing.by is Sensor.TAGS
    )
