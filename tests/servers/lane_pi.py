"""One Pi of a junction of several, as a process: the product's parts on a clock that the test advances.

`python -m tests.servers.lane_pi ROLE ...` reads lines from its standard input: what time it is, and how many
messages of the leases were sent to it so far. It waits for those, makes one step, and answers with one
line of JSON. So an hour passes as fast as all processes can think, and a busy machine does not lose messages; the
broker is a real one.
"""

import argparse
import json
import sys
import time
from collections import Counter
from random import Random
from typing import Any

from common.brokers import Broker
from common.codes import Aspect
from common.junction import Junction
from common.topics import Qos
from edge_agent.domain.signals.interlock import Limits
from edge_agent.domain.signals.leases import LeaseTimes
from edge_agent.domain.signals.lights import Lights
from edge_agent.drivers.heads.lanes import LaneLink
from edge_agent.drivers.heads.simulated import SimulatedHeads
from edge_agent.link.messages import Crossing, SensorState
from edge_agent.mqtt.client import Came, Client
from edge_agent.mqtt.speaking import NoBus, Speaker
from edge_agent.signals.driving import Driving
from edge_agent.signals.lane_pi import LanePi, will_of
from edge_agent.signals.several_pis import Lanes
from tests.junctions import with_people

FENCE_S = 2.0
"""Real seconds; what a broker took with it when it ended is not waited for any longer."""
TIMES = LeaseTimes(lease_s=10.0, ask_every_s=2.9, patience_s=4.5, guard_s=8.04, lost_after_s=15.0)
LIMITS = Limits(late_step_s=2.0)
HEADS = {movement.name: movement.name for movement in with_people().movements} | {"north-pole": "north"}
COORDINATOR = "coordinator"


class Fenced:
    """A connection that can wait for messages that are known to be under way, and counts what it sends."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._came: list[Came] = []
        self._n_came = self._n_lost = 0
        self.sent: Counter[str] = Counter()

    @property
    def is_connected(self) -> bool:
        return self._client.is_connected

    def wait_for(self, n: int) -> None:
        """Until so many have come since the beginning; what has not by then is lost, as when a broker ends."""
        deadline_s = time.monotonic() + FENCE_S
        self._look()
        while self._n_came < n - self._n_lost and self.is_connected:
            if time.monotonic() > deadline_s:
                self._n_lost = n - self._n_came
            time.sleep(0.0005)
            self._look()

    def take(self) -> list[Came]:
        self._look()
        came, self._came = self._came, []
        return came

    def _look(self) -> None:
        came = self._client.take()
        self._n_came += sum("/lease" in one.topic for one in came)
        self._came += came

    def send(self, topic: str, payload: bytes, qos: Qos, *, retain: bool = False) -> None:
        if self.is_connected and "/lease" in topic:
            self.sent[topic] += 1
        self._client.send(topic, payload, qos, retain=retain)

    def close(self) -> None:
        self._client.close()


def connect(speaker: Speaker, port: int, topics: list[str]) -> Fenced:
    """A connection that comes back soon."""
    broker = Broker("127.0.0.1", port, tls=False, backoff_s=(1, 1))
    will = will_of(speaker, speaker.place) if speaker.place != COORDINATOR else None
    client = Client(broker, f"test-{speaker.place}", [(topic, Qos.AT_LEAST_ONCE) for topic in topics], will=will)
    client.open()
    fenced = Fenced(client)
    speaker.bus = fenced
    return fenced


class CoordinatorProcess:
    """Decides for all, and has no head of its own."""

    def __init__(self, junction: Junction, port: int) -> None:
        self._junction = junction
        self._speaker = Speaker(NoBus(), junction.name, COORDINATOR, flat=True)
        prefix = f"stopline/{junction.name}/lanes/+"
        self.bus = connect(self._speaker, port, [f"{prefix}/lease/ask", f"{prefix}/car-counts"])
        self._heads = Lanes(junction, LaneLink(HEADS, 1, TIMES, settle_s=25.0), self._speaker, lambda: self._now_s)
        self._now_s = 0.0
        self._driving: Driving | None = None
        self._crossed: Counter[str] = Counter()

    def step(self, now_s: float) -> dict[str, Any]:
        self._now_s = now_s
        if self._driving is None:
            lights = Lights(self._junction, now_s, limits=LIMITS)
            self._driving = Driving(lights, self._heads, [one.name for one in self._junction.movements])
        for told in self._heads.sensed(0):
            if isinstance(told, Crossing):
                self._crossed[told.sensor] += 1
        driven = self._driving.step(now_s, None, None)
        self._heads.tell(driven)
        fault = f"{driven.fault.code}: {driven.fault.detail}" if driven.fault else ""
        return {"fault": fault, "crossed": self._crossed}


class Unread(SimulatedHeads):
    """As most boards are: what is lit is not read back. Flashing could not be judged in steps of a second."""

    def read_back(self) -> None:
        return None


class LaneProcess:
    """One head; while it is green, vehicles cross."""

    def __init__(self, junction: Junction, port: int, head: str) -> None:
        self._junction, self._head, self._movement = junction, head, HEADS[head]
        self._speaker = Speaker(NoBus(), junction.name, head)
        self.bus = connect(self._speaker, port, [f"stopline/{junction.name}/lanes/{head}/lease"])
        self._heads = Unread([self._movement])
        self._now_s = 0.0
        self._pi: LanePi | None = None
        self._random = Random(head)
        self._n_crossed = 0

    def step(self, now_s: float) -> dict[str, Any]:
        self._now_s = now_s
        if self._pi is None:
            clock, save = lambda: self._now_s, self._saved
            options: dict[str, Any] = {"clock": clock, "save": save, "times": TIMES, "limits": LIMITS}
            self._pi = LanePi(
                self._junction, self._head, self._movement, self._heads, self._speaker, now_s, **options
            )
        sensor = f"cam-{self._head}"
        told: list[object] = [SensorState(sensor=sensor, at_ns=0, measures=True)]
        goes = Aspect.GREEN in self._heads.lit[self._movement] and self._random.random() < 0.4
        if goes and self._head in ("north", "east", "south", "west"):
            told.append(Crossing(sensor=sensor, source="stop", at_ns=0, cls="car"))
            self._n_crossed += 1
        self._pi.sense(told, now_s)
        self._pi.step(now_s)
        fault = self._pi.fault
        return {
            "lit": sorted(self._heads.lit[self._movement]),
            "aspect": self._pi.aspect,
            "fault": f"{fault.code}: {fault.detail}" if fault else "",
            "crossed": self._n_crossed,
        }

    def _saved(self, obeys: Any) -> None:
        assert self._pi is not None
        self._pi.saved(obeys)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("port", type=int)
    parser.add_argument("--began", type=float, default=0.0, help="what its clock shows at the beginning")
    parser.add_argument("--rate", type=float, default=1.0, help="how fast its clock runs")
    options = parser.parse_args()
    junction = with_people()
    process: CoordinatorProcess | LaneProcess
    if options.role == COORDINATOR:
        process = CoordinatorProcess(junction, options.port)
    else:
        process = LaneProcess(junction, options.port, options.role)
    for line in sys.stdin:
        now_s, n_coming = json.loads(line)
        process.bus.wait_for(n_coming)
        answer = process.step(options.began + options.rate * now_s)
        print(json.dumps(answer | {"connected": process.bus.is_connected, "sent": process.bus.sent}), flush=True)


if __name__ == "__main__":
    main()
