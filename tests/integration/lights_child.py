"""A process that uses link and spool as the lights' daemon does, and has no lights. Run by tests.

Arguments: the socket, the spool's file, a log, and how many events to make in each step. The log says what was
made and what of it is on the disk. Of orders it takes all but `off`; what sensors tell goes into the log too.
"""

import os
import select
import sys
import time
from pathlib import Path

import msgspec

from common.codes import Aspect, SignalMode
from common.commands import Flash, Off, OrderResult
from common.records import Cycle, LaneCycle, Log, SignalEvent
from edge_agent.clock_source import Clock
from edge_agent.link.handover import Handover
from edge_agent.link.messages import Ask, OrderAnswer, Shown, Taken, TakeRecords, ToSignals
from edge_agent.link.server import LinkServer, Peer
from edge_agent.link.spool import Spool

STEP_S = 0.02
SERIALS = 32768


class Lights:
    """The daemon without its lights."""

    def __init__(self, path: str, spool_path: str, log: str) -> None:
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.first = sum(line.startswith("made ") for line in Path(log).read_text().splitlines()) + 1
        self.serial = self.first - 1
        self.clock = Clock()
        self.server = LinkServer(Path(path))
        self.server.open()
        self.spool = Spool(Path(spool_path), commit_interval_s=0.05)
        self.handover = Handover(self.spool, self.server)
        self.mode, self.shown_s = SignalMode.AUTOMATIC, 0.0
        self.n_durable, self.n_waiting = 0, -1
        self.write("begins")

    def write(self, line: str) -> None:
        os.write(self.log, f"{line}\n".encode())

    def step(self, n_events: int) -> None:
        select.select([self.server.fileno()], [], [], STEP_S)
        for peer, message in self.server.poll():
            self.hear(peer, message)
        self.handover.step()
        for _ in range(n_events):
            self.serial += 1
            self.write(f"made {self.serial}")
            record = SignalEvent(1, 0, 0, "crossroads", self.serial // SERIALS, self.serial % SERIALS)
            self.spool.put(record, self.clock.stamp())
        session = self.spool._session
        if n_events and session and session.durable - session.opened_at > self.n_durable:
            self.n_durable = session.durable - session.opened_at
            self.write(f"durable {self.first - 1 + self.n_durable}")
        if not n_events and session and self.spool.n_waiting != self.n_waiting:
            self.n_waiting = self.spool.n_waiting
            self.write(f"waiting {self.n_waiting}")
        if time.monotonic() - self.shown_s >= 1.0:
            self.show()

    def hear(self, peer: Peer, message: ToSignals) -> None:
        if isinstance(message, Taken | TakeRecords):
            self.handover.heard(peer, message)
            return
        self.write(f"heard {self.clock.stamp().boottime_ns} {msgspec.json.encode(message).decode()}")
        if isinstance(message, Ask):
            accepted = not isinstance(message.order, Off)
            if accepted:
                self.mode = SignalMode.FLASH if isinstance(message.order, Flash) else SignalMode.AUTOMATIC
                self.record(message.order.by)
                self.show()
            result = OrderResult(accepted=accepted, reason="" if accepted else "lamps are being tested")
            self.server.tell(OrderAnswer(id=message.id, result=result), peer)

    def record(self, by: str) -> None:
        lane = LaneCycle("north", 3, 20.0, 3.0, 37.0)
        self.spool.put(Cycle(1, 0, 0, "crossroads", 60.0, self.mode, "fixed", [lane]), self.clock.stamp())
        self.spool.put(Log(1, 0, 0, "info", "order", f"by {by}"), self.clock.stamp())

    def show(self) -> None:
        self.shown_s = time.monotonic()
        now_ns = self.clock.stamp().boottime_ns
        shown = Shown(
            junction="crossroads", at_ns=now_ns, aspects={"north": Aspect.GREEN, "east": Aspect.RED},
            mode=self.mode, stage="ns", next_stage=None, plan="day", algorithm="fixed", since_ns=now_ns,
        )  # fmt: skip
        self.server.tell(shown)


def main(path: str, spool_path: str, log: str, n_events: str) -> None:
    lights = Lights(path, spool_path, log)
    while os.getppid() != 1:
        lights.step(int(n_events))


if __name__ == "__main__":
    main(*sys.argv[1:])
