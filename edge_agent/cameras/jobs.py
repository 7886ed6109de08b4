"""From a camera's settings to the job of its process."""

from edge_agent.cameras.messages import CameraJob
from edge_agent.config.camera import CameraSettings

_MOST_THREADS = 4
"""Small models gain nothing from more."""


def threads_per_camera(n_cores: int, n_cameras: int) -> int:
    """How many threads each camera's model gets, so that several share the machine fairly.

    One camera alone leaves a core to its own decoding and to the agent.
    """
    share = n_cores - 1 if n_cameras <= 1 else n_cores // n_cameras
    return max(1, min(_MOST_THREADS, share))


def camera_job(
    camera: CameraSettings, threads: int, *, probe: bool = False, snapshot: bool = False, live: bool = False
) -> CameraJob:
    """What its process is to do.

    Args:
        threads: for the model, unless the settings say how many.
    """
    return CameraJob(
        camera=camera.name,
        source=camera.source,
        model=camera.model,
        fps=camera.fps,
        threads=camera.threads or threads,
        birth_score=camera.birth_score,
        classes=camera.wanted_classes,
        lines=tuple((line.name, line.points, line.anchor.value) for line in camera.lines),
        zones=tuple(
            (zone.name, zone.points, zone.anchor.value, zone.capacity, zone.parked_after_s)
            for zone in camera.zones
        ),
        black_after_s=camera.black_after_s,
        frozen_after_s=camera.frozen_after_s,
        decoder=camera.decoder,
        normalisation=camera.normalisation,
        input_size_px=camera.input_size,
        provider=camera.execution_provider,
        turns=tuple(
            (rule.name, rule.entry, rule.exit, rule.within_s) for rule in (turn.rule() for turn in camera.turns)
        ),
        ground_points=camera.ground_points,
        options=camera.source_options,
        focus=camera.focus,
        probe=probe,
        snapshot=snapshot,
        live=live,
    )
