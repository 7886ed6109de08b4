"""From what a configuration says to a reader. Drivers and their libraries are loaded as they are needed."""

from pathlib import Path

from edge_agent.drivers.base import TagReader
from edge_agent.drivers.tags.options import LLRP, MFRC522, SIM, ReaderOptions, parse_device


def make_reader(options: ReaderOptions) -> TagReader:
    """The reader, not yet open.

    Raises:
        ValueError: `device` names no reader.
    """
    place = parse_device(options.device)
    if place.kind == MFRC522:
        from edge_agent.drivers.tags.mfrc522 import Mfrc522Reader

        return Mfrc522Reader(place.bus, place.chip, reset_pin=options.reset_pin, spi_hz=options.spi_hz)
    if place.kind == LLRP:
        from edge_agent.drivers.tags.llrp import LlrpReader

        return LlrpReader(
            place.host,
            place.port,
            antennas=options.antennas,
            power_dbm=options.power_dbm,
            keepalive_s=options.keepalive_s,
        )
    if place.kind == SIM:
        from edge_agent.drivers.tags.simulated import SimulatedReader

        return SimulatedReader(place.name, antennas=options.antennas)
    from edge_agent.drivers.tags.replay import ReplayReader

    return ReplayReader(Path(place.name), as_fast=options.as_fast)
