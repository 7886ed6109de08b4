"""Save a small picture of what a camera sees, in which nobody can be recognised.

Masks are painted over, people and vehicles are made of large squares, and the whole is too small to read a face or
a number plate in. That it was taken, and by whom, is written into the log and told to the collector. A running
agent is asked for it; where none runs, the camera is opened.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from edge_agent.commands.options import Subparsers, add_command, add_config_option, refuse_picture
from edge_agent.config.camera import CameraSettings
from edge_agent.config.loading import ConfigError, load_config
from edge_agent.config.settings import AgentConfig
from edge_agent.control import AgentAbsent, ControlError, ask_for_snapshot, snapshot_taken, user_name
from edge_agent.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, EXIT_USAGE
from edge_agent.redact import redact

_OPEN_S = 60.0


def add(subparsers: Subparsers) -> None:
    """Add `snapshot` to the command line."""
    parser = add_command(subparsers, "snapshot", __doc__, run)
    add_config_option(parser)
    parser.add_argument("camera", metavar="CAMERA", help="name of the camera in the configuration")
    parser.add_argument("--out", type=Path, metavar="P.jpg", required=True, help="the new picture")


def run(options: argparse.Namespace) -> int:
    """Ask, or open; write."""
    try:
        config = load_config(options.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    names = [camera.name for camera in config.cameras]
    if options.camera not in names:
        return _fail(f"there is no camera {options.camera!r}; there is {', '.join(names) or 'none'}", EXIT_USAGE)
    try:
        refuse_picture(options.out, ".jpg", ".jpeg")
    except ValueError as error:
        return _fail(str(error), EXIT_USAGE)
    try:
        picture = asyncio.run(_take(config, options.camera))
        options.out.write_bytes(picture)
    except (ControlError, OSError) as error:
        return _fail(str(error), EXIT_FAILED)
    print(f"written: {options.out} ({len(picture)} bytes); that you took it is in the log")
    return EXIT_OK


def _fail(message: str, code: int) -> int:
    print(f"stopline-agent snapshot: {message}", file=sys.stderr)
    return code


async def _take(config: AgentConfig, camera: str) -> bytes:
    try:
        return await ask_for_snapshot(config.state_dir, camera)
    except AgentAbsent:
        return await _open_and_take(config, camera)


async def _open_and_take(config: AgentConfig, name: str) -> bytes:
    """No agent runs: the camera and the outbox are free."""
    from edge_agent.app import make_writer
    from edge_agent.clock_source import Clock
    from edge_agent.outbox import OutboxBusy

    _refuse_other_users(config.state_dir)
    (camera,) = [one for one in config.cameras if one.name == name]
    clock = Clock()
    try:
        async with make_writer(config, clock) as writer:
            picture = await _from_camera(camera)
            await writer.put(snapshot_taken(name, user_name(os.getuid()), len(picture)), clock.stamp())
            if not await writer.flush():
                raise ControlError(
                    "that it is taken cannot be written down, so it is not given; is the disk full?"
                )
    except OutboxBusy as error:
        raise ControlError("an agent is starting or ending on this state folder; try again") from error
    return picture


def _refuse_other_users(state_dir: Path) -> None:
    """What another user puts into the agent's folder, the agent cannot open."""
    state_dir.mkdir(parents=True, exist_ok=True)
    owner = state_dir.stat().st_uid
    if owner != os.getuid():
        name = user_name(owner)
        raise ControlError(f"no agent runs, and {state_dir} belongs to {name}; take it with sudo -u {name}")


async def _from_camera(camera: CameraSettings) -> bytes:
    from edge_agent.cameras.child import CameraChild, ChildGarbled
    from edge_agent.cameras.jobs import camera_job
    from edge_agent.cameras.messages import Failed, Snapshot

    try:
        async with (
            await CameraChild.start(camera_job(camera, 1, snapshot=True)) as child,
            asyncio.timeout(_OPEN_S),
        ):
            while not child.ended:
                match await child.receive(timeout_s=1.0):
                    case Snapshot(jpeg=jpeg):
                        return jpeg
                    case Failed(message=message):
                        raise ControlError(redact(message))
    except (TimeoutError, ChildGarbled) as error:
        raise ControlError(f"camera {camera.name} gives no picture within {_OPEN_S:.0f} s") from error
    raise ControlError(f"camera {camera.name} gives no picture: its process died")
