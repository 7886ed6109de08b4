"""Detectors by name: `motion`, or the path of an ONNX model, run on the CPU by ONNX Runtime."""

import ast
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from edge_agent.domain.classes import COCO_80, class_ids
from edge_agent.domain.frames import Detections, Image
from edge_agent.domain.nms import suppress_detections
from edge_agent.drivers.base import Detector, DetectorError
from edge_agent.drivers.detectors.decoders import Candidates, Decoder, Signature, recognise
from edge_agent.drivers.detectors.letterbox import Letterbox, Placement
from edge_agent.drivers.detectors.motion import MotionDetector

logger = logging.getLogger(__name__)

DEFAULT_SCORE = 0.1
"""As low as the tracker makes use of: it follows known vehicles by scores that would not make a new one."""
IOU_LIMIT = 0.45
TWIN_IOU = 0.75
MAX_CANDIDATES = 300
"""Only the best ones are compared with each other; a picture holds far fewer vehicles."""

_ORT_ERRORS = tuple(
    error for error in vars(ort_state).values() if isinstance(error, type) and issubclass(error, Exception)
)
_FATAL_ONLY = 4
_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def load_detector(
    model: str,
    *,
    classes: Sequence[str] | None = None,
    score_threshold: float = DEFAULT_SCORE,
    threads: int | None = None,
) -> Detector:
    """Make a detector ready to run; a model has seen its first picture then.

    Args:
        model: the path of an .onnx file, or `motion`.
        classes: only these are found; None finds all, and does not tell them apart when one object is found twice.
        score_threshold: 0..1. Weaker detections are left out.
        threads: for the model; None leaves one core to the rest of the machine, and takes four at most.

    Raises:
        DetectorError: with what to do about it.
    """
    if model == "motion":
        return MotionDetector()
    if model == "bundled":
        raise DetectorError("no model is bundled yet: give the path of an .onnx file, or motion, which needs none")
    return OnnxDetector(Path(model), classes=classes, score_threshold=score_threshold, threads=threads)


def default_threads() -> int:
    """One core is left to the camera and the rest; beyond four, small models gain nothing."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores - 1))


class OnnxDetector:
    """A model of a known family (see `decoders`), on the CPU."""

    def __init__(
        self, path: Path, *, classes: Sequence[str] | None, score_threshold: float, threads: int | None
    ) -> None:
        if not 0 < score_threshold <= 1:
            raise DetectorError(
                f"a score threshold of {score_threshold:g} makes no sense: it lies between 0 and 1"
            )
        self._path = path
        self._threshold = score_threshold
        self._session: onnxruntime.InferenceSession | None = _open(path, threads or default_threads())
        try:
            self._setup(self._session, classes)
        except DetectorError as error:
            raise DetectorError(f"{path}: {error}") from error

    def _setup(self, session: onnxruntime.InferenceSession, classes: Sequence[str] | None) -> None:
        inputs = {tensor.name: tuple(_size(n) for n in tensor.shape) for tensor in session.get_inputs()}
        picture, width, height = Signature(inputs, {}).picture
        self._feeds = _feeds(session, picture, width, height)
        outputs = self._run(self._feeds)
        names = [tensor.name for tensor in session.get_outputs()]
        shapes = {name: output.shape for name, output in zip(names, outputs, strict=True)}
        self._decoder: Decoder = recognise(Signature(inputs, shapes))
        # The decoder refuses scores that are no probabilities, and does so here, before the first real picture.
        self._decoder.decode(outputs, self._threshold)
        self._picture = picture
        self._letterbox = Letterbox(self._decoder.input_format)
        self._class_names = _class_names(session.get_modelmeta().custom_metadata_map, self._decoder)
        self._wanted = self._wanted_classes(classes)

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

    def detect(self, image: Image) -> Detections:
        tensor, placement = self._letterbox.fill(image)
        self._feeds[self._picture] = tensor
        candidates = self._decoder.decode(self._run(self._feeds), self._threshold)
        return self._finish(candidates, placement)

    def run_model_again(self) -> None:
        """Run the model alone on the picture it saw last: what all the rest is measured against.

        Raises:
            DetectorError: as `detect`.
        """
        self._run(self._feeds)

    def close(self) -> None:
        self._session = None

    def _run(self, feeds: Mapping[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        if self._session is None:
            raise DetectorError(f"{self._path}: the detector was closed")
        try:
            outputs: list[NDArray[np.generic]] = self._session.run(None, feeds)
        except _ORT_ERRORS as error:
            raise DetectorError(f"{self._path}: the model failed on a picture: {_first_line(error)}") from error
        return outputs

    def _finish(self, candidates: Candidates, placement: Placement) -> Detections:
        keep = _wanted_and_best(candidates, self._wanted)
        boxes = placement.to_picture(candidates.boxes_px[keep])
        scores, ids = np.clip(candidates.scores[keep], 0, 1), candidates.class_ids[keep]
        # Nothing of a box that lies outside the picture is left after clipping.
        inside = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
        if not inside.all():
            boxes, scores, ids = boxes[inside], scores[inside], ids[inside]
        if self._decoder.needs_suppression:
            twin_iou = None if self._wanted is None else TWIN_IOU
            stays = suppress_detections(boxes, scores, ids, iou_limit=IOU_LIMIT, twin_iou=twin_iou)
            boxes, scores, ids = boxes[stays], scores[stays], ids[stays]
        return Detections(boxes, scores, ids, self._class_names)


def _wanted_and_best(candidates: Candidates, wanted: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    """Which candidates go on: those of wanted classes, the best `MAX_CANDIDATES` of them."""
    keep = np.arange(len(candidates.scores))
    if wanted is not None:
        keep = keep[wanted[candidates.class_ids]]
    if len(keep) > MAX_CANDIDATES:
        best = np.argpartition(-candidates.scores[keep], MAX_CANDIDATES)[:MAX_CANDIDATES]
        keep = keep[np.sort(best)]
    return keep


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise DetectorError(f"there is no model file {path}; give the path of an .onnx file, or motion")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Spinning threads would burn the cores that the camera and the rest need while the model waits for a picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _ORT_ERRORS as error:
        raise DetectorError(f"{path} is not a model that ONNX Runtime can load: {_first_line(error)}") from error


def _feeds(
    session: onnxruntime.InferenceSession, picture: str, width: int, height: int
) -> dict[str, NDArray[np.generic]]:
    """Something for every input: an empty picture, and the input's own size where the model asks for a size."""
    feeds: dict[str, NDArray[np.generic]] = {}
    for tensor in session.get_inputs():
        if tensor.type not in _TYPES:
            raise DetectorError(
                f"the model's input {tensor.name!r} is {tensor.type}; export it with float32 inputs"
            )
        if tensor.name == picture:
            feeds[tensor.name] = np.zeros((1, 3, height, width), _TYPES[tensor.type])
        elif len(tensor.shape) == 2 and tensor.shape[1] == 2:
            feeds[tensor.name] = np.asarray([[width, height]], _TYPES[tensor.type])
        else:
            raise DetectorError(f"it is not known what the model's input {tensor.name!r} ({tensor.shape}) is for")
    return feeds


def _class_names(metadata: Mapping[str, str], decoder: Decoder) -> tuple[str, ...]:
    """Names from the file where it holds some, COCO's where their number fits, numbers else."""
    named = _names_in(metadata)
    n = decoder.n_classes
    if named and (n is None or len(named) == n):
        return named
    if n is None or n == len(COCO_80):
        return COCO_80
    raise DetectorError(
        f"the model tells {n} classes apart and its file does not name them; add them to its metadata as `names`"
    )


def _names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names as exporters write them: a list or a mapping by id, as JSON or as Python's own notation."""
    text = metadata.get("names") or metadata.get("classes")
    if not text:
        return ()
    names = _literal(text)
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _literal(text: str) -> object:
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError):
            continue
    return None


def _size(value: object) -> int | None:
    """A size of a shape; ONNX Runtime gives a name, or None, where the model leaves it open."""
    return value if isinstance(value, int) else None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
