"""The agent's root: what starts in which order, and that it stops in the reverse one.

If any part fails for good the agent stops, and systemd starts it again; what it holds is on the disk by then. Only
this file picks implementations.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import __version__
from common.clock import Stamp
from common.notify import feed_watchdog, notify
from common.records import Log
from edge_agent.cameras.hours import Hours, local_now_in
from edge_agent.cameras.jobs import camera_job, threads_per_camera
from edge_agent.cameras.supervisor import CameraSupervisor, RecordSink
from edge_agent.cameras.view import CameraView
from edge_agent.clock_source import Clock
from edge_agent.config.settings import AgentConfig, CollectorSettings
from edge_agent.control import Control
from edge_agent.downtime import tell_downtime
from edge_agent.enrol import Identity, load_or_create
from edge_agent.health import HealthReporter
from edge_agent.link.client import LightsLink, LightsView
from edge_agent.link.sensors import CameraReports, TagReports
from edge_agent.machine import Machine, kept_in_memory, machine_id
from edge_agent.orders.fetcher import OrderFetcher
from edge_agent.outbox import Limits
from edge_agent.outbox.writer import OutboxWriter, WriterSettings
from edge_agent.rfid.fusing import LaneFuser
from edge_agent.rfid.plans import lane_plans, reader_plans
from edge_agent.rfid.supervisor import ReaderSupervisor
from edge_agent.rfid.tap import CountTap
from edge_agent.runtime import Progress, stop_on_signals
from edge_agent.status.gathering import StatusBoard, local_zone, today_in
from edge_agent.status.server import StatusServer
from edge_agent.sync import Phase, Syncer, SyncSettings

logger = logging.getLogger(__name__)

LAST_SYNC_S = 3.0
"""How long the last records are waited for when the agent stops. What is not delivered then waits on the disk."""
_OUTBOX_LIMIT_S = 45.0
_CAMERA_LIMIT_S = 60.0
_READER_LIMIT_S = 60.0
_POLL_S = 0.1


@dataclass(slots=True)
class Parts:
    """Everything that runs."""

    clock: Clock
    started: Stamp
    writer: OutboxWriter
    syncer: Syncer | None
    views: list[CameraView]
    supervisors: list[CameraSupervisor]
    readers: list[ReaderSupervisor]
    tap: CountTap
    """Whoever listens here hears all counts of cameras and readers, as they are made."""
    fuser: LaneFuser
    """Whoever listens here hears each vehicle of the fused lanes once."""
    health: HealthReporter
    board: StatusBoard
    lights: LightsLink | None
    tags: TagReports | None
    orders: OrderFetcher | None


Producer = Callable[[Parts, asyncio.Event], Coroutine[None, None, None]]
"""Something beside the cameras that makes records, until the event is set."""


async def run_agent(
    config: AgentConfig, stop: asyncio.Event | None = None, *, produce: Producer | None = None
) -> None:
    """Run until a signal, or `stop`, says otherwise.

    Raises:
        OutboxBusy: another agent runs on this state folder.
        EpcKeyError: the key of EPCs cannot be read or made.
        IdentityError: the device's identity cannot be read or made.
        ExceptionGroup: a part failed for good.
    """
    stop = stop or asyncio.Event()
    clock, progress = Clock(), Progress()
    identity = load_or_create(config.state_dir, config.name, config.junction)
    with stop_on_signals(stop):
        async with make_writer(config, clock) as writer:
            parts = make_parts(config, clock, identity, writer, progress)
            async with (
                serving_status(config, parts.board),
                make_control(config, parts).serving(config.state_dir),
                running(parts, progress) as cameras,
            ):
                logger.info(
                    "Stopline agent %s: %s, cameras: %d, readers: %d",
                    *(__version__, config.name, len(config.cameras), len(config.readers)),
                    extra={"action": "started", "device": str(identity.device)},
                )
                await tell_of_memory(config.state_dir, writer, clock)
                async with asyncio.TaskGroup() as supervision:
                    for supervisor in cameras:
                        supervision.create_task(supervisor.run(stop))
                    for reader in parts.readers:
                        supervision.create_task(reader.run(stop))
                    if produce is not None:
                        supervision.create_task(produce(parts, stop), name="producer")
                    notify("READY=1")
                    await stop.wait()
                    notify("STOPPING=1")
                await deliver_the_last(parts)
    logger.info("stopped", extra={"action": "stopped"})


async def tell_of_memory(state_dir: Path, writer: OutboxWriter, clock: Clock) -> None:
    """Where a power cut takes the outbox away, journal and collector hear of it."""
    memory = kept_in_memory(state_dir)
    if memory is not None:
        action = "state_in_memory"
        text = f"{state_dir} is in memory ({memory}): a power cut takes away what the collector does not have yet"
        logger.warning("%s", text, extra={"action": action})
        await writer.put(Log(1, 0, 0, "warning", action, text), clock.stamp())


def make_writer(config: AgentConfig, clock: Clock) -> OutboxWriter:
    """The outbox of this agent."""
    return OutboxWriter(
        config.outbox_path,
        clock,
        Limits(cap_bytes=config.outbox.max_mb * 1024 * 1024),
        WriterSettings(
            commit_interval_s=config.outbox.commit_every_s, commit_records=config.outbox.commit_records
        ),
        host=machine_id(),
    )


def sync_settings(collector: CollectorSettings) -> SyncSettings:
    """Where and how to deliver."""
    ca_file = str(collector.ca_file) if collector.ca_file else None
    return SyncSettings(collector.url, ca_file=ca_file, allow_plain_http=collector.allow_plain_http)


def make_parts(
    config: AgentConfig, clock: Clock, identity: Identity, writer: OutboxWriter, progress: Progress
) -> Parts:
    """All parts, made and not yet running."""
    started = clock.stamp()
    syncer = Syncer(writer, sync_settings(config.collector), identity, clock) if config.collector else None
    views = [CameraView(camera.name) for camera in config.cameras]
    reader_views = [CameraView(reader.name, kind="reader") for reader in config.readers]
    sensors = [*views, *reader_views]
    health = HealthReporter(Machine(config.state_dir), writer, clock, sensors, config.health.interval_s)
    view = LightsView()
    lights = LightsLink(config.signals.socket, writer, view) if config.signals else None
    orders = make_orders(config, clock, identity, writer, syncer, lights)
    board = StatusBoard(
        config, str(identity.device), clock, sensors, writer, health, syncer, view if lights else None, orders
    )
    tap = CountTap(writer)
    fuser = LaneFuser(lane_plans(config), {view.name: view for view in sensors}, writer, clock)
    tap.listeners.append(fuser.hear)
    supervisors = make_supervisors(config, views, tap, clock, progress, lights)
    readers = make_readers(config, reader_views, tap, clock, progress)
    tags = TagReports(lights, reader_views, fuser.states) if lights else None
    if tags is not None:
        tap.listeners.append(tags.counted)
        fuser.listeners.append(tags.fused)
    counting = (views, supervisors, readers, tap, fuser)
    return Parts(clock, started, writer, syncer, *counting, health, board, lights, tags, orders)


def make_orders(
    config: AgentConfig,
    clock: Clock,
    identity: Identity,
    writer: OutboxWriter,
    syncer: Syncer | None,
    lights: LightsLink | None,
) -> OrderFetcher | None:
    """Who fetches orders to the lights from the collector; None: nobody, and it is not asked."""
    if lights is None or syncer is None or config.collector is None or not config.takes_orders:
        return None
    settings = sync_settings(config.collector)
    return OrderFetcher(settings, identity, clock, writer, lights, syncer, config.state_dir)


def make_readers(
    config: AgentConfig, views: Sequence[CameraView], sink: RecordSink, clock: Clock, progress: Progress
) -> list[ReaderSupervisor]:
    """One for each tag reader."""
    today = today_in(local_zone(config))
    return [
        ReaderSupervisor(
            plan, view, sink, clock, alive=progress.expect(f"reader {plan.name}", _READER_LIMIT_S), today=today
        )
        for plan, view in zip(reader_plans(config), views, strict=True)
    ]


def make_supervisors(
    config: AgentConfig,
    views: Sequence[CameraView],
    sink: RecordSink,
    clock: Clock,
    progress: Progress,
    lights: LightsLink | None = None,
) -> list[CameraSupervisor]:
    """One for each camera; they share the machine's cores."""
    threads = threads_per_camera(len(os.sched_getaffinity(0)), len(config.cameras))
    zone = local_zone(config)
    today = today_in(zone)
    return [
        CameraSupervisor(
            camera_job(camera, threads, live=lights is not None),
            view,
            sink,
            clock,
            alive=progress.expect(f"camera {camera.name}", _CAMERA_LIMIT_S),
            today=today,
            hours=Hours(camera.windows, local_now_in(zone)),
            live=CameraReports(lights) if lights else None,
        )
        for camera, view in zip(config.cameras, views, strict=True)
    ]


def make_control(config: AgentConfig, parts: Parts) -> Control:
    """Who takes orders from this machine."""
    names = [camera.name for camera in config.cameras]
    return Control(dict(zip(names, parts.supervisors, strict=True)), parts.writer, parts.clock)


@contextlib.asynccontextmanager
async def serving_status(config: AgentConfig, board: StatusBoard) -> AsyncIterator[None]:
    """The status page. That its address is taken is no reason not to count."""
    async with contextlib.AsyncExitStack() as stack:
        if config.status.enabled:
            server = StatusServer(board.pages())
            try:
                host, port = await stack.enter_async_context(
                    server.serving(config.status.host, config.status.port)
                )
            except OSError as error:
                logger.warning("no status page: %s", error, extra={"action": "status_page_failed"})
            else:
                logger.info("status page: http://%s:%d", host, port, extra={"action": "status_page", "port": port})
        yield


@contextlib.asynccontextmanager
async def running(parts: Parts, progress: Progress) -> AsyncIterator[list[CameraSupervisor]]:
    """All that runs beside the cameras, from before the first starts until after the last has ended."""
    async with asyncio.TaskGroup() as tasks:
        services = [
            tasks.create_task(parts.writer.run(), name="outbox"),
            tasks.create_task(parts.board.watch_outbox(progress.expect("outbox", _OUTBOX_LIMIT_S))),
            tasks.create_task(tell_downtime(parts.writer, parts.started), name="downtime"),
            tasks.create_task(parts.health.run(), name="health"),
            tasks.create_task(parts.board.tell(), name="status line"),
            tasks.create_task(parts.fuser.run(), name="fusion"),
            tasks.create_task(feed_watchdog(progress.all_well), name="watchdog"),
        ]
        if parts.syncer is not None:
            services.append(tasks.create_task(parts.syncer.run(), name="sync"))
        if parts.lights is not None:
            services.append(tasks.create_task(parts.lights.run(), name="lights"))
        if parts.orders is not None:
            services.append(tasks.create_task(parts.orders.run(), name="orders"))
        if parts.tags is not None:
            services.append(tasks.create_task(parts.tags.run(), name="tags to the lights"))
        yield parts.supervisors
        for service in services:
            service.cancel()


async def deliver_the_last(parts: Parts) -> None:
    """Cameras have ended: make durable what they said last, and give it a short while to reach the collector."""
    await parts.writer.flush()
    if parts.syncer is None:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_SYNC_S):
            while parts.syncer.state.phase is not Phase.TROUBLED and (await parts.writer.stats()).waiting:
                await asyncio.sleep(_POLL_S)
