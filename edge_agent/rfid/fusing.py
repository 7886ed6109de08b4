"""Fuses the counts of a camera and a reader over one lane, as they pass by on their way into the outbox.

What each of them counted goes to the collector as it is: two sources, told apart by `via`, never to be added up.
The fused crossings are for the lights, which need each vehicle once, and soon.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from common.clock import Stamp
from common.codes import Direction, Via
from common.records import Count, Log, Scalar
from edge_agent.cameras.supervisor import RecordSink, StampClock
from edge_agent.cameras.view import CameraView
from edge_agent.domain.fusion import CrossCheck, FusedCrossing, FusionParams, LaneFusion, Sensor

logger = logging.getLogger(__name__)

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class LanePlan:
    """One fused lane.

    Attributes:
        line, direction: what the camera counts there; None: both directions.
        tags: the source that the reader counts under.
        camera, reader: the sensors' names.
        check_every_s: how often the two are compared.
    """

    name: str
    line: str
    direction: Direction | None
    tags: str
    camera: str
    reader: str
    params: FusionParams
    check_every_s: float = 900.0


FusedListener = Callable[[str, FusedCrossing], None]
"""Called with the lane's name and each fused crossing, in the event loop's thread; times: s of CLOCK_BOOTTIME."""


class LaneFuser:
    """All fused lanes. `hear` is a listener to counts; `run` a task of the agent's."""

    def __init__(
        self, plans: Sequence[LanePlan], views: Mapping[str, CameraView], sink: RecordSink, clock: StampClock
    ) -> None:
        """
        Args:
            views: of all sensors, by name: who does not measure is not blamed.
        """
        self._lanes = [(plan, LaneFusion(plan.params)) for plan in plans]
        self._views, self._sink, self._clock = views, sink, clock
        self._disagree: set[str] = set()
        self.listeners: list[FusedListener] = []

    def hear(self, count: Count, stamp: Stamp) -> None:
        """A count passes by."""
        for plan, fusion in self._lanes:
            crossing = self._put(plan, fusion, count, stamp.boottime_ns / 1e9)
            if crossing is not None:
                for listener in self.listeners:
                    listener(plan.name, crossing)

    def states(self) -> dict[str, str]:
        """Lane -> why it is not measured; empty where it is, which takes one of its sensors: the other then counts
        alone."""
        return {plan.name: self._trouble(plan) for plan, _ in self._lanes}

    def _trouble(self, plan: LanePlan) -> str:
        sensors = [self._views[name] for name in (plan.camera, plan.reader)]
        if any(view.state == "ok" for view in sensors):
            return ""
        return "; ".join(f"{view.kind} {view.name}: {view.state}" for view in sensors)

    async def run(self) -> None:
        """Look which sensors measure, and compare them now and then, until cancelled."""
        now_s = self._now_s()
        due_s = {plan.name: now_s + plan.check_every_s for plan, _ in self._lanes}
        while True:
            now_s = self._now_s()
            for plan, fusion in self._lanes:
                self._look(plan, fusion, now_s)
                if now_s >= due_s[plan.name]:
                    due_s[plan.name] = now_s + plan.check_every_s
                    await self.tell(plan, fusion.check(now_s))
            await asyncio.sleep(_LOOK_S)

    async def tell(self, plan: LanePlan, found: CrossCheck) -> None:
        """Write down how the two agreed. That they do not is logged once, and again only after they did."""
        was_bad = plan.name in self._disagree
        if found.faults:
            self._disagree.add(plan.name)
            level, action, words = "warning", "fusion_disagrees", "; ".join(found.faults)
        elif found.n_both + found.n_tags_only < plan.params.min_n:
            level, action, words = "info", "fusion_check", "too few vehicles with tags to judge by"
        else:
            self._disagree.discard(plan.name)
            level, action, words = "info", "fusion_agrees" if was_bad else "fusion_check", "the two agree"
        message = f"lane {plan.name}, {plan.line} and {plan.tags}: {words}"
        heed = logging.WARNING if found.faults and not was_bad else logging.INFO
        logger.log(heed, "%s", message, extra={"action": action})
        context: dict[str, Scalar] = {
            "lane": plan.name,
            "both": found.n_both,
            "camera_only": found.n_camera_only,
            "tags_only": found.n_tags_only,
            "camera_miss": found.camera_miss,
            "tag_share": found.tag_share,
            "offset_s": found.offset_s,
        }
        await self._sink.put(Log(1, 0, 0, level, action, message, context), self._clock.stamp())

    def _put(self, plan: LanePlan, fusion: LaneFusion, count: Count, t_s: float) -> FusedCrossing | None:
        if count.via is Via.RFID and (count.sensor, count.source) == (plan.reader, plan.tags):
            self._look(plan, fusion, self._now_s())
            return fusion.tag(t_s, count.track)
        if count.via is Via.CAMERA and (count.sensor, count.source) == (plan.camera, plan.line):
            self._look(plan, fusion, self._now_s())
            if plan.direction in (None, count.direction):
                return fusion.camera(t_s, count.cls)
        return None

    def _look(self, plan: LanePlan, fusion: LaneFusion, now_s: float) -> None:
        for sensor, name in ((Sensor.CAMERA, plan.camera), (Sensor.TAGS, plan.reader)):
            fusion.sees(sensor, self._views[name].state == "ok", now_s)

    def _now_s(self) -> float:
        return self._clock.stamp().boottime_ns / 1e9
