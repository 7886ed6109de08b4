"""The devices that were made for MQTT, and how far what came for each was taken in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from uuid import NAMESPACE_URL, UUID, uuid5

from collector.bridge.records import Position, Who
from collector.db import Connection, Pool, load_queries, reading, writing
from collector.errors import StoreError
from collector.identity.device_tokens import Device

STREAM = "mqtt"
_MAX_BOOTS = 8


def epoch_of(device: UUID) -> UUID:
    """The one epoch of its stream: nothing is kept beside the store that could begin anew."""
    return uuid5(NAMESPACE_URL, f"stopline/mqtt/{device}")


@dataclass
class Lane:
    """What is known of the starts of a program that tells of a lane, the latest last."""

    boots: dict[UUID, Position] = field(default_factory=dict)

    def put(self, boot_id: UUID, position: Position) -> None:
        self.boots.pop(boot_id, None)
        self.boots[boot_id] = position
        while len(self.boots) > _MAX_BOOTS:
            del self.boots[next(iter(self.boots))]


@dataclass
class Bridged:
    """A device that stands for the counters of a junction."""

    device: Device
    junction: UUID
    next_seq: int = 1
    lanes: dict[tuple[str, str, UUID], Lane] = field(default_factory=dict)

    def lane(self, who: Who) -> Lane:
        return self.lanes.setdefault((who.channel, who.lane, who.sender), Lane())


async def read_devices(pool: Pool) -> dict[str, Bridged]:
    """By the junction's name. How far they came is not read yet."""
    async with reading(pool, unbounded=True) as connection:
        cursor = await connection.execute(load_queries("bridge")["devices"])
        rows = await cursor.fetchall()
    return {name: Bridged(Device(device, bytes(key)), junction) for device, key, junction, name in rows}


async def take_turn(pool: Pool) -> int:
    """From now on whoever has an earlier turn writes nothing more."""
    async with writing(pool) as connection:
        cursor = await connection.execute(load_queries("bridge")["take_turn"])
        row = await cursor.fetchone()
    assert row is not None
    turn: int = row[0]
    return turn


async def _hold_turn(connection: Connection, turn: int) -> None:
    cursor = await connection.execute(load_queries("bridge")["hold_turn"], {"turn": turn})
    if await cursor.fetchone() is None:
        raise StoreError(f"turn {turn} of the bridge to MQTT is over: another one writes")


async def read_positions(pool: Pool, bridged: Bridged, watermark: int, turn: int) -> None:
    """Read how far everything came that is stored up to `watermark`.

    Raises:
        StoreError: it is not its turn any more.
    """
    bridged.next_seq = watermark + 1
    queries, device = load_queries("bridge"), bridged.device.id
    async with writing(pool) as connection:
        await _hold_turn(connection, turn)
        await connection.execute(queries["forget_positions"], {"device": device})
        await connection.execute(queries["take_back_positions"], {"device": device, "watermark": watermark})
        cursor = await connection.execute(queries["positions"], {"device": device})
        for channel, lane, sender, boot_id, seq, total, missing in await cursor.fetchall():
            if seq:
                position = Position(seq, total, tuple(zip(missing[::2], missing[1::2], strict=True)))
                bridged.lane(Who(channel, lane, sender, boot_id)).put(boot_id, position)


async def save_positions(
    pool: Pool, bridged: Bridged, changed: Mapping[Who, Position], stream_seq: int, turn: int
) -> None:
    """Write down how far things will have come when the stream has reached `stream_seq`.

    Raises:
        StoreError: it is not its turn any more.
    """
    rows = list(_rows(bridged, changed, stream_seq))
    async with writing(pool) as connection, connection.cursor() as cursor:
        await _hold_turn(connection, turn)
        await cursor.executemany(load_queries("bridge")["save_position"], rows)


def _rows(bridged: Bridged, changed: Mapping[Who, Position], stream_seq: int) -> Iterable[dict[str, object]]:
    for who, position in changed.items():
        before = bridged.lane(who).boots.get(who.boot_id, Position())
        yield {
            "device": bridged.device.id,
            "channel": who.channel,
            "lane": who.lane,
            "sender": who.sender,
            "boot_id": who.boot_id,
            "seq": position.seq,
            "total": position.total,
            "missing": list(chain.from_iterable(position.missing)),
            "stream_seq": stream_seq,
            "before_seq": before.seq,
            "before_total": before.total,
            "before_missing": list(chain.from_iterable(before.missing)),
        }
