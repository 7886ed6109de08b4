"""A made-up device that drives the lights of a junction of its own, as far as a collector can tell."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import psycopg

from common.junction import DESCRIBED_ACTION, Junction
from common.records import Cycle, LaneCycle, Log, SignalEvent
from tests.integration.ingest_helpers import now_ms, send
from tests.junctions import APPROACHES
from tests.servers.collector import RunningCollector
from tests.servers.device import FakeDevice


class Pi:
    """A device that drives the lights of a junction of its own."""

    def __init__(self, dsn: str, collector: RunningCollector, *, has_junction: bool = True) -> None:
        self.collector = collector
        self.device = FakeDevice()
        self.junction = uuid4()
        self.next_seq = 1
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "INSERT INTO junctions (id, name) VALUES (%s, %s)", (self.junction, str(self.junction))
            )
        self.device.enrol(dsn, self.junction if has_junction else None)

    def send(self, *records: Any) -> None:
        """Deliver records; their numbers are made here."""
        numbered = [msgspec.structs.replace(one, seq=self.next_seq + i) for i, one in enumerate(records)]
        response = send(self.collector, self.device, numbered, self.next_seq)
        assert response.status_code == 200, response.text
        assert response.json()["rejected"] == []
        self.next_seq += len(records)

    def tell(self, *events: tuple[int, int, int]) -> None:
        """Entries of the log: ms ago, code, parameter."""
        now = now_ms()
        self.send(*(SignalEvent(1, now - ago_ms, 0, "x", code, value) for ago_ms, code, value in events))

    def describe(self, junction: Junction, at_ms: int | None = None) -> None:
        text = msgspec.json.encode(junction).decode()
        self.send(Log(1, at_ms or now_ms(), 0, "info", DESCRIBED_ACTION, "a junction", {"description": text}))

    def ask(self, what: str, **query: Any) -> Any:
        answer = httpx.get(f"{self.collector.url}/api/junctions/{self.junction}/{what}", params=query, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def aspects(self) -> dict[str, str | None]:
        return {one["movement"]: one["aspect"] for one in self.ask("signals")["movements"]}


def cycle(at_ms: int, vehicles: Sequence[int | None] = (5, 6, None, 8), **changed: Any) -> Cycle:
    lanes = [
        LaneCycle(name, n, 20.0 + i, 3.0, 37.0 - i, None if n is None else n / 10, ["E1"] if i == 0 else [])
        for i, (name, n) in enumerate(zip(APPROACHES, vehicles, strict=True))
    ]
    made = Cycle(1, at_ms, 0, "x", 60.0, "automatic", "adaptive", lanes, "day")
    return msgspec.structs.replace(made, **changed)
