"""From settings to readers and fused lanes."""

from common.codes import Direction
from edge_agent.config.reader import Crossed, FusedLaneSettings, ReaderSettings
from edge_agent.config.settings import AgentConfig
from edge_agent.domain.epc import EpcForm, EpcMask
from edge_agent.rfid.fusing import LanePlan
from edge_agent.rfid.keys import load_or_create_key
from edge_agent.rfid.messages import ReaderJob
from edge_agent.rfid.supervisor import ReaderPlan

_HOUR_MS = 3_600_000
_DIRECTIONS = {Crossed.IN: Direction.IN, Crossed.OUT: Direction.OUT, Crossed.ANY: None}


def reader_plans(config: AgentConfig) -> list[ReaderPlan]:
    """All readers. Reads the key of EPCs, and makes it at first need, where one of them hashes.

    Raises:
        EpcKeyError: the key cannot be read or made.
    """
    hashing = any(reader.epc is EpcForm.HMAC for reader in config.readers)
    key = load_or_create_key(config.epc_key_path) if hashing else b""
    return [reader_plan(reader, key, config.epc.rotate_h) for reader in config.readers]


def reader_plan(reader: ReaderSettings, key: bytes, rotate_h: float) -> ReaderPlan:
    """One reader."""
    return ReaderPlan(
        ReaderJob(reader.name, reader.options),
        reader.passage,
        reader.sources,
        EpcMask(reader.epc, key, rotate_ms=round(rotate_h * _HOUR_MS)),
    )


def lane_plans(config: AgentConfig) -> list[LanePlan]:
    """All fused lanes; that they name lines and readers which exist was checked."""
    cameras = {line.name: camera.name for camera in config.cameras for line in camera.lines}
    readers = {source: reader.name for reader in config.readers for source in reader.sources.values()}
    return [_lane_plan(lane, cameras[lane.line], readers[lane.tags]) for lane in config.fused_lanes]


def _lane_plan(lane: FusedLaneSettings, camera: str, reader: str) -> LanePlan:
    return LanePlan(
        name=lane.name,
        line=lane.line,
        direction=_DIRECTIONS[lane.direction],
        tags=lane.tags,
        camera=camera,
        reader=reader,
        params=lane.params,
        check_every_s=lane.check_every_s,
    )
