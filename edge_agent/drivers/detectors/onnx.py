"""Detectors by name: `motion`, or an ONNX model, run by ONNX Runtime."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.domain.classes import COCO_80, class_ids
from edge_agent.domain.frames import Detections, Image
from edge_agent.drivers.base import Detector, DetectorError
from edge_agent.drivers.detectors import probing
from edge_agent.drivers.detectors.choices import DECODERS, NORMALISATIONS, ModelOptions
from edge_agent.drivers.detectors.decoders.base import (
    COMMON_SURE_SCORE,
    IMAGENET_BGR_MEAN,
    IMAGENET_BGR_STD,
    IMAGENET_RGB_MEAN,
    IMAGENET_RGB_STD,
    UNIT_STD,
    Candidates,
    Decoder,
    Floats,
    Outputs,
    Signature,
)
from edge_agent.drivers.detectors.decoders.families import recognise
from edge_agent.drivers.detectors.letterbox import BGR, RGB, InputFormat, Letterbox, Placement
from edge_agent.drivers.detectors.metadata import Metadata
from edge_agent.drivers.detectors.motion import MotionDetector
from edge_agent.drivers.detectors.session import Session
from edge_agent.drivers.detectors.suppression import suppress, suppress_by_class
from edge_agent.models.known import ModelError
from edge_agent.models.store import model_path

DEFAULT_SCORE = 0.2
"""As low as the tracker makes use of: it follows known vehicles by scores that would not make a new one. Below it
are as many boxes again, each of which would have to be weighed against the others."""
IOU_LIMIT = 0.45
TWIN_IOU = 0.75
MAX_CANDIDATES = 300
"""Only the best ones are compared with each other; a picture holds far fewer vehicles."""

_SCALES = {
    "255": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "1": ((0.0, 0.0, 0.0), UNIT_STD),
}


def load_detector(
    model: str,
    *,
    classes: Sequence[str] | None = None,
    score_threshold: float = DEFAULT_SCORE,
    threads: int | None = None,
    options: ModelOptions | None = None,
) -> Detector:
    """Make a detector ready to run; a model has seen its first pictures then.

    Args:
        model: the path of an .onnx file, `bundled`, the name of a model that was pulled, or `motion`.
        classes: only these are found; None finds all, and does not tell them apart when one object is found twice.
        score_threshold: 0..1. Weaker detections are left out. Scores of families that are surer of themselves than
            YOLO models are lowered to theirs, so that one threshold means the same for all.
        threads: for the model; None takes what `options` say.
        options: how the model is fed, read and run; None lets the model tell.

    Raises:
        DetectorError: with what to do about it.
    """
    if model == "motion":
        return MotionDetector()
    chosen = options or ModelOptions()
    if threads is not None:
        chosen = replace(chosen, threads=threads)
    try:
        path = model_path(model)
    except ModelError as error:
        raise DetectorError(str(error)) from error
    return OnnxDetector(path, classes=classes, score_threshold=score_threshold, options=chosen)


def default_threads() -> int:
    """One core is left to the camera and the rest; beyond four, small models gain nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores - 1))


class OnnxDetector:
    """A model of a known family (see `decoders`)."""

    def __init__(
        self, path: Path, *, classes: Sequence[str] | None, score_threshold: float, options: ModelOptions
    ) -> None:
        if not 0 < score_threshold <= 1:
            raise DetectorError(
                f"a score threshold of {score_threshold:g} makes no sense: it lies between 0 and 1"
            )
        self._path = path
        self._threshold = score_threshold
        self._options = options
        try:
            self._session = Session(path, options, options.threads or default_threads())
            self._setup(self._session, classes)
        except DetectorError as error:
            raise DetectorError(self._named(error)) from error

    def _named(self, error: Exception) -> str:
        """What went wrong, and with which file."""
        return str(error) if str(self._path) in str(error) else f"{self._path}: {error}"

    def _setup(self, session: Session, classes: Sequence[str] | None) -> None:
        first = session.run_again()
        shapes = {name: output.shape for name, output in zip(session.output_names, first, strict=True)}
        signature = Signature(session.inputs, shapes, session.metadata)
        known = recognise(signature, self._options.decoder or _one_of(session.metadata.decoder, DECODERS))
        self._class_names = _class_names(session.metadata, known)
        self._settle(session, known, signature.picture.channels_last, first)
        self._wanted = self._wanted_classes(classes)
        # Raised to this power, what is sure for the family becomes what is sure for the tracker.
        self._power = math.log(COMMON_SURE_SCORE) / math.log(self._decoder.sure_score)
        self._own_threshold = self._threshold ** (1 / self._power)

    def _settle(self, session: Session, known: Decoder, channels_last: bool, first: Outputs) -> None:
        """Find out how this very model is fed and read, and whether it is sound."""
        fed = replace(known.input_format, dtype=session.dtype, channels_last=channels_last)
        named = self._options.normalisation or _one_of(session.metadata.normalisation, NORMALISATIONS)
        fed = normalised(fed, named) if named else fed
        self._decoder, runs = _shown(session, known, fed, first)
        if named is None and session.dtype is not np.uint8 and self._decoder.kind == "yolox":
            fed, self._decoder, runs = _yolox_of_its_time(session, known, fed, self._decoder, runs)
        self._letterbox = Letterbox(fed)
        self._normalisation = named or _normalisation_of(fed)
        letterbox = self._letterbox
        probing.judge(
            self._decoder, runs, lambda: (session.run(letterbox.fill(p)[0]) for p in probing.more_pictures())
        )

    def _wanted_classes(self, classes: Sequence[str] | None) -> NDArray[np.bool_] | None:
        """Whether each class is wanted; None if all are."""
        if classes is None:
            return None
        wanted = np.zeros(len(self._class_names), np.bool_)
        try:
            wanted[list(class_ids(classes, self._class_names))] = True
        except ValueError as error:
            raise DetectorError(str(error)) from error
        return wanted

    @property
    def class_names(self) -> Sequence[str]:
        return self._class_names

    @property
    def family(self) -> str:
        """The family of models it was recognised as."""
        return self._decoder.family

    @property
    def kind(self) -> str:
        """The same as a configuration would name it."""
        return self._decoder.kind

    @property
    def normalisation(self) -> str:
        """What it is fed with, as a configuration would name it; `bytes` for one that takes pixels as they are."""
        return self._normalisation

    @property
    def input_size_px(self) -> tuple[int, int]:
        """Width and height of what the model sees."""
        return self._session.picture_size_px

    @property
    def metadata(self) -> Metadata:
        """What the file tells of itself."""
        return self._session.metadata

    def detect(self, image: Image) -> Detections:
        try:
            tensor, placement = self._letterbox.fill(image)
            candidates = self._decoder.decode(self._session.run(tensor), self._own_threshold)
            return self._finish(candidates, placement)
        except (DetectorError, ValueError) as error:
            raise DetectorError(self._named(error)) from error

    def run_model_again(self) -> None:
        """Run the model alone on the picture it saw last: what all the rest is measured against.

        Raises:
            DetectorError: as `detect`.
        """
        self._session.run_again()

    def close(self) -> None:
        self._session.close()

    def _finish(self, candidates: Candidates, placement: Placement) -> Detections:
        self._check(candidates)
        keep = _wanted_and_best(candidates, self._wanted)
        if keep is not None:
            candidates = candidates.where(keep)
        boxes = placement.to_picture(candidates.boxes_px)
        scores, ids = np.minimum(candidates.scores, np.float32(1)), candidates.class_ids
        if self._power != 1:
            scores = np.power(scores, np.float32(self._power))
        # Nothing of a box that lies outside the picture is left after clipping.
        sides = boxes[:, 2:] - boxes[:, :2]
        if sides.size and sides.min() < 1:
            inside = (sides >= 1).all(axis=1)
            boxes, scores, ids = boxes[inside], scores[inside], ids[inside]
        stays = self._suppress(boxes, scores, ids)
        return Detections(boxes.take(stays, axis=0), scores.take(stays), ids.take(stays), self._class_names)

    def _suppress(self, boxes: Floats, scores: Floats, ids: NDArray[np.int32]) -> NDArray[np.intp]:
        if not self._decoder.needs_suppression:
            # Each object once, but once for each class that it may be of: those boxes coincide.
            return suppress(boxes, scores, TWIN_IOU)
        if self._wanted is None:
            return suppress(boxes, scores, IOU_LIMIT)
        return suppress_by_class(boxes, scores, ids, iou_limit=IOU_LIMIT, twin_iou=TWIN_IOU)

    def _check(self, candidates: Candidates) -> None:
        """Raises where a broken model would be taken for an empty street."""
        boxes = candidates.boxes_px
        if boxes.size and not (math.isfinite(boxes.min()) and math.isfinite(boxes.max())):
            raise DetectorError("the model gave boxes that are no numbers (NaN or infinite); the file is broken")
        ids = candidates.class_ids
        if self._decoder.n_classes is not None:
            return
        wrong = ids[(ids < 0) | (ids >= len(self._class_names))]
        if wrong.size:
            raise DetectorError(
                f"the model gave class {int(wrong[0])}, and {len(self._class_names)} names are known; "
                "add the right ones to its metadata as `names`"
            )


def normalised(fed: InputFormat, name: str) -> InputFormat:
    """The same format with the colours and the scale that one of `NORMALISATIONS` names."""
    order, _, scale = name.partition("-")
    channels = RGB if order == "rgb" else BGR
    if scale == "imagenet":
        mean, std = (
            (IMAGENET_RGB_MEAN, IMAGENET_RGB_STD) if channels == RGB else (IMAGENET_BGR_MEAN, IMAGENET_BGR_STD)
        )
    else:
        mean, std = _SCALES[scale]
    return replace(fed, channels=channels, mean=mean, std=std)


def _normalisation_of(fed: InputFormat) -> str:
    if fed.dtype is np.uint8:
        return "bytes"
    return next(name for name in NORMALISATIONS if normalised(fed, name) == fed)


def _one_of(value: str | None, allowed: Sequence[str]) -> str | None:
    """What a file says, if it is a word of ours; others may use the same key for something else."""
    return value if value in allowed else None


def _shown(session: Session, known: Decoder, fed: InputFormat, first: Outputs) -> tuple[Decoder, list[Outputs]]:
    """A model that was shown noise and a drawn street, fed like this: how it is read, and what it gave.

    `first`: what it gave for an empty picture.
    """
    letterbox = Letterbox(fed)
    runs = [first, *(session.run(letterbox.fill(p)[0]) for p in (probing.noise(), probing.drawn_street()))]
    return known.settle(runs), runs


def _yolox_of_its_time(
    session: Session, known: Decoder, fed: InputFormat, decoder: Decoder, runs: list[Outputs]
) -> tuple[InputFormat, Decoder, list[Outputs]]:
    """How a YOLOX is fed and read. Until version 0.1.0 it was by ImageNet's mean; nothing in the file tells."""
    n_usual = probing.n_in_noise(decoder, runs)
    if n_usual < probing.MANY_IN_NOISE:
        return fed, decoder, runs
    legacy = normalised(fed, "rgb-imagenet")
    other, other_runs = _shown(session, known, legacy, runs[0])
    if probing.is_fed_better(n_usual, other, other_runs):
        return legacy, other, other_runs
    return fed, decoder, runs


def _wanted_and_best(candidates: Candidates, wanted: NDArray[np.bool_] | None) -> NDArray[np.intp] | None:
    """Which candidates go on: those of wanted classes, the best `MAX_CANDIDATES` of them. None: all do."""
    n = len(candidates.scores)
    mask = None if wanted is None else wanted.take(candidates.class_ids)
    n_wanted = n if mask is None else np.count_nonzero(mask)
    if n_wanted == n <= MAX_CANDIDATES:
        return None
    keep = np.arange(n) if mask is None else mask.nonzero()[0]
    if n_wanted > MAX_CANDIDATES:
        best = np.argpartition(-candidates.scores[keep], MAX_CANDIDATES)[:MAX_CANDIDATES]
        keep = keep[np.sort(best)]
    return keep


def _class_names(metadata: Metadata, decoder: Decoder) -> tuple[str, ...]:
    """Names from the file where it holds some, the family's or COCO's where their number fits."""
    named, n = metadata.names, decoder.n_classes
    if named and (n is None or len(named) == n):
        return named
    if decoder.default_names is not None:
        return tuple(decoder.default_names)
    if n is None or n == len(COCO_80):
        return COCO_80
    there = f"names {len(named)} of them" if named else "does not name them"
    raise DetectorError(
        f"the model tells {n} classes apart and its file {there}; add them to its metadata as `names`"
    )
