"""Tries everything that a configuration names, and says what to mend. One finding for each thing."""

import asyncio
import math
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

from edge_agent.cameras.child import CameraChild, ChildGarbled
from edge_agent.cameras.jobs import camera_job, threads_per_camera
from edge_agent.cameras.messages import Failed, Message, Probed, Ready
from edge_agent.checks.findings import Finding, Verdict
from edge_agent.checks.reader import check_reader
from edge_agent.checks.state_folder import check_state_folder
from edge_agent.clock_source import Clock
from edge_agent.config.camera import CameraSettings
from edge_agent.config.settings import AgentConfig
from edge_agent.domain.measuring import ENOUGH_FPS, LEAST_FPS, TOO_SLOW_FPS
from edge_agent.link.asking import Asking, LightsUnreachable
from edge_agent.outbox import OutboxBusy, OutboxError
from edge_agent.outbox.reader import Flaw, OutboxAbsent, reading
from edge_agent.redact import redact

PROBE_S = 60.0
_LINE_STEP_PX = 4.0
"""What is seen of a line is asked at points that lie so far apart."""
_READ_THROUGH_MB = 64
"""A larger outbox is not copied just to look through it; `outbox verify` does."""
_MIB = 1024 * 1024


async def check_all(config: AgentConfig, *, offline: bool) -> AsyncIterator[Finding]:
    """All checks, one after the other.

    `offline` leaves out cameras, readers and the collector, and lets nothing fail that is no reason not to start:
    the service asks this before each start, and counts with little room on the disk and beside lights in fault.
    """
    clock = Clock()
    yield check_state_folder(
        config.state_dir,
        costs="what the collector does not have yet",
        no_room=Verdict.NOTE if offline else Verdict.FAIL,
        may_need_mb=config.outbox.max_mb,
    )
    yield check_clock(clock)
    yield check_outbox(config, clock, read_through=not offline)
    for camera in config.cameras:
        if not camera.lines and not camera.zones and not camera.source.startswith("sim:"):
            yield Finding(
                Verdict.NOTE, f"camera {camera.name}", "has no line and no zone: nothing is counted there"
            )
        if offline:
            yield Finding(Verdict.SKIP, f"camera {camera.name}", "not tried (--offline)")
        else:
            yield await check_camera(camera, len(config.cameras))
    for reader in config.readers:
        if offline:
            yield Finding(Verdict.SKIP, f"reader {reader.name}", "not tried (--offline)")
        else:
            yield await check_reader(reader)
    if config.signals is not None:
        yield check_lights(config.signals.socket, Verdict.NOTE if offline else Verdict.FAIL)
        yield check_orders(config)
    if config.collector is None:
        yield Finding(Verdict.NOTE, "collector", "none is set: records wait in the outbox")
    elif offline:
        yield Finding(Verdict.SKIP, "collector", "not tried (--offline)")
    else:
        # Only now: HTTP and cryptography take seconds to load on a small Pi, which starts with an offline check.
        from edge_agent.checks.collector import check_collector

        yield await check_collector(config, config.collector, clock)


def check_clock(clock: Clock) -> Finding:
    """Whether the system clock is right by its own count."""
    error_ms = clock.error_ms()
    if clock.stamp().synced:
        return Finding(Verdict.OK, "clock", f"synchronised within {error_ms} ms")
    return Finding(Verdict.NOTE, "clock", "not synchronised (NTP); times are taken from the collector then")


def check_outbox(config: AgentConfig, clock: Clock, *, read_through: bool) -> Finding:
    """Whether it can be read, and holds what it should."""
    path = config.outbox_path
    what = "outbox"
    try:
        size_mb = path.stat().st_size // _MIB
        if not read_through or size_mb > _READ_THROUGH_MB:
            return Finding(Verdict.SKIP, what, f"{path}, {size_mb} MB: not read through")
        with reading(path, clock.stamp()) as reader:
            entries = list(reader.read())
    except (OutboxAbsent, FileNotFoundError):
        return Finding(Verdict.OK, what, f"{path}: will be made at the first start")
    except OutboxBusy:
        return Finding(Verdict.SKIP, what, f"{path}: an agent runs on it")
    except (OutboxError, OSError) as error:
        return Finding(Verdict.FAIL, what, f"{path}: {error}")
    except sqlite3.DatabaseError as error:
        text = f"{path} is damaged ({error}); the agent salvages what it can when it starts; is the disk failing?"
        return Finding(Verdict.FAIL, what, text)
    flaws = [entry for entry in entries if isinstance(entry, Flaw)]
    if flaws:
        return Finding(Verdict.FAIL, what, f"{path}: {len(flaws)} faults, see stopline-agent outbox verify")
    return Finding(Verdict.OK, what, f"{path}: sound, {len(entries)} records wait")


def check_lights(socket: Path, unwell: Verdict = Verdict.FAIL) -> Finding:
    """Whether the lights' daemon answers, and is well; `unwell`: how bad it is if not. It stops no counting."""
    what = "lights"
    try:
        with Asking(socket) as asking:
            shown = next(asking.shown())
    except LightsUnreachable as error:
        return Finding(unwell, what, str(error))
    if shown.fault:
        text = (
            f"{shown.junction} flashes for a fault: {shown.fault}; mend it, then stopline-agent lights clear-fault"
        )
        return Finding(unwell, what, text)
    text = f"{shown.junction} answers at {socket}: {shown.mode.value}"
    return Finding(Verdict.NOTE if shown.note else Verdict.OK, what, f"{text}; {shown.note}".rstrip("; "))


def check_orders(config: AgentConfig) -> Finding:
    """Whether the lights can be ordered from afar."""
    what = "orders"
    if config.takes_orders:
        return Finding(Verdict.OK, what, "operators may order the lights through the collector")
    if config.collector is None:
        return Finding(Verdict.NOTE, what, "no collector is set: the lights are ordered from this machine only")
    if config.collector.take_orders is None:
        text = (
            "not taken from the collector: over http:// everybody on the way could order the lights; use https://"
        )
        return Finding(Verdict.NOTE, what, text)
    return Finding(Verdict.NOTE, what, "not taken from the collector (take_orders = false)")


async def check_camera(camera: CameraSettings, n_cameras: int) -> Finding:
    """Whether it gives pictures and the model runs, and how fast; in a process of its own, since it may hang."""
    what = f"camera {camera.name}"
    threads = threads_per_camera(len(os.sched_getaffinity(0)), n_cameras)
    try:
        async with await CameraChild.start(camera_job(camera, threads, probe=True)) as child:
            messages = await _all_messages(child)
            words = child.last_words
    except TimeoutError:
        text = f"no answer within {PROBE_S:.0f} s; its driver or the model hangs"
        return Finding(Verdict.FAIL, what, text)
    except (OSError, ChildGarbled) as error:
        return Finding(Verdict.FAIL, what, f"cannot be tried: {error}")
    failed = [message for message in messages if isinstance(message, Failed)]
    if failed:
        return Finding(Verdict.FAIL, what, redact(failed[0].message))
    ready = [message for message in messages if isinstance(message, Ready)]
    probed = [message for message in messages if isinstance(message, Probed)]
    if not ready or not probed:
        return Finding(Verdict.FAIL, what, f"its process died{f': {words}' if words else ''}")
    return judge_camera(camera, ready[0], probed[0])


def judge_camera(camera: CameraSettings, ready: Ready, probed: Probed) -> Finding:
    """What is to be said of a camera that gives pictures, and of a model that runs."""
    unseen = _unseen_lines(camera)
    doubts = [*_unknown(ready), *_too_few(camera, probed), *unseen]
    text = "; ".join([_speed(camera, ready, probed), *doubts])
    verdict = Verdict.NOTE if doubts else Verdict.OK
    if unseen or min(probed.fps, _model_fps(probed)) < TOO_SLOW_FPS:
        verdict = Verdict.FAIL
    return Finding(verdict, f"camera {camera.name}", text)


async def _all_messages(child: CameraChild) -> list[Message]:
    messages: list[Message] = []
    async with asyncio.timeout(PROBE_S):
        while not child.ended:
            message = await child.receive(timeout_s=1.0)
            if message is not None:
                messages.append(message)
    return messages


def _speed(camera: CameraSettings, ready: Ready, probed: Probed) -> str:
    return (
        f"{ready.width_px} x {ready.height_px} px, {probed.fps:g} pictures/s; {camera.model} takes "
        f"{probed.model_ms:g} ms: about {min(probed.fps, _model_fps(probed)):.2g} a second can be looked at"
        + (f"; calibrated by {ready.calibration}" if ready.calibration else "")
    )


def _model_fps(probed: Probed) -> float:
    """How many pictures a second the model can manage."""
    return 1000 / probed.model_ms if probed.model_ms else math.inf


def _unknown(ready: Ready) -> list[str]:
    if not ready.unknown_classes:
        return []
    return [f"the model does not know {', '.join(ready.unknown_classes)}, and counts none of them: mend classes"]


def _unseen_lines(camera: CameraSettings) -> list[str]:
    """Lines that would tell zero for ever, since nothing is looked for anywhere on them."""
    # Only here: numpy takes its time to load on a small Pi, which starts with an offline check.
    import numpy as np

    from edge_agent.domain.geometry import inside_distance_px, points_along

    masks, regions = ([zone.shape() for zone in zones] for zones in (camera.masks, camera.regions))
    told = []
    for line in (settings.shape() for settings in camera.lines):
        points_px = points_along(line, _LINE_STEP_PX)
        in_masks, in_regions = (
            [inside_distance_px(zone, points_px) > 0 for zone in zones] for zones in (masks, regions)
        )
        if regions and not np.any(in_regions):
            told.append(
                f"line {line.name!r} lies outside of all regions, where nothing is taken for real: move either"
            )
        elif masks and np.any(in_masks, axis=0).all():
            told.append(f"line {line.name!r} is wholly painted over by masks: move either")
    return told


def _too_few(camera: CameraSettings, probed: Probed) -> list[str]:
    """What to do where fewer pictures are looked at than counting at lines needs."""
    rates = {"fps": camera.fps or math.inf, "source": probed.fps, "model": _model_fps(probed)}
    least = min(rates, key=lambda name: rates[name])
    # What a camera gives varies a little about its rate.
    far_too_few = rates[least] < TOO_SLOW_FPS
    if not far_too_few and (not camera.lines or rates[least] >= 0.95 * ENOUGH_FPS):
        return []
    mend = {
        "fps": "raise fps",
        "source": "set the camera itself to more",
        "model": "take a smaller model, or a smaller input for it (stopline-agent models resize)",
    }[least]
    if far_too_few:
        text = (
            f"by less than {LEAST_FPS:g} picture a second nobody can be followed, and none of it would be measured"
        )
        return [f"{text}: {mend}"]
    return [f"lines count well from {ENOUGH_FPS:g} pictures a second on, and badly below 3: {mend}"]
