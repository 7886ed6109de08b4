"""A model's file, opened by ONNX Runtime: its outside, and running it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from edge_agent.drivers.base import DetectorError
from edge_agent.drivers.detectors.choices import ModelOptions
from edge_agent.drivers.detectors.decoders.base import Outputs, Signature
from edge_agent.drivers.detectors.metadata import Metadata, read_metadata

_ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    error for error in vars(ort_state).values() if isinstance(error, type) and issubclass(error, Exception)
)
# A damaged name in the file is no text any more, and ONNX Runtime's Python part falls over it.
_DAMAGED: tuple[type[Exception], ...] = (*_ORT_ERRORS, UnicodeDecodeError)
_FATAL_ONLY = 4
_SUFFIX = "ExecutionProvider"
_ON_CPU = f"CPU{_SUFFIX}"
_PICTURE_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}
_SIZE_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
}


class Session:
    """One model, ready to run. Inputs beside the picture are filled in here, once."""

    def __init__(self, path: Path, options: ModelOptions, threads: int) -> None:
        """
        Raises:
            DetectorError: it cannot be loaded, or wants something that is not known here.
        """
        self._path = path
        self._session: onnxruntime.InferenceSession | None = _open(path, options.provider, threads)
        opened = self._session
        try:
            self.metadata: Metadata = read_metadata(opened.get_modelmeta().custom_metadata_map)
            self._types = {tensor.name: tensor.type for tensor in opened.get_inputs()}
            self.output_names: tuple[str, ...] = tuple(tensor.name for tensor in opened.get_outputs())
        except UnicodeDecodeError as error:
            raise DetectorError(f"{path} is damaged: a name in it is no text ({error}); copy it again") from error
        self.inputs = _input_shapes(opened, options.input_size_px or self.metadata.input_size_px)
        if options.input_size_px:
            _check_size(self.inputs, options.input_size_px)
        picture = Signature(self.inputs, {}).picture
        self.picture_name, self.picture_size_px = picture.name, (picture.width_px, picture.height_px)
        self.dtype = _type_of(self.picture_name, self._types, _PICTURE_TYPES)
        shape = (3, *self.picture_size_px[::-1]) if not picture.channels_last else (*self.picture_size_px[::-1], 3)
        self._feeds = self._other_feeds()
        self._feeds[self.picture_name] = np.zeros((1, *shape), self.dtype)

    def _other_feeds(self) -> dict[str, NDArray[np.generic]]:
        feeds: dict[str, NDArray[np.generic]] = {}
        for name, shape in self.inputs.items():
            if name == self.picture_name:
                continue
            if len(shape) != 2 or shape[1] != 2:
                raise DetectorError(f"it is not known what the model's input {name!r} ({shape}) is for")
            # The size of the picture, for models that give boxes in its pixels: here, those of their own input.
            feeds[name] = np.asarray([self.picture_size_px], _type_of(name, self._types, _SIZE_TYPES))
        return feeds

    def run(self, tensor: NDArray[np.generic]) -> Outputs:
        """What the model gives for one picture.

        Raises:
            DetectorError: it failed, or was closed.
        """
        self._feeds[self.picture_name] = tensor
        return self.run_again()

    def run_again(self) -> Outputs:
        """Run it on what it was last given, an empty picture at first.

        Raises:
            DetectorError: as `run`.
        """
        if self._session is None:
            raise DetectorError("the detector was closed")
        try:
            outputs: Outputs = self._session.run(None, self._feeds)
        except _ORT_ERRORS as error:
            raise DetectorError(f"the model failed on a picture: {_first_line(error)}") from error
        return outputs

    @property
    def options(self) -> onnxruntime.SessionOptions:
        assert self._session is not None
        return self._session.get_session_options()

    def close(self) -> None:
        self._session = None


def provider_name(wanted: str, available: list[str]) -> str:
    """ONNX Runtime's name of an execution provider: `cpu`, `xnnpack`, or its full name.

    Raises:
        DetectorError: this ONNX Runtime has it not; telling what it has.
    """
    for name in available:
        if wanted.lower() in (name.lower(), name.removesuffix(_SUFFIX).lower()):
            return name
    there = ", ".join(name.removesuffix(_SUFFIX).lower() for name in available)
    raise DetectorError(
        f"this ONNX Runtime has no execution provider {wanted!r}; it has {there}. Choose one of them, "
        f"or install a build of onnxruntime that has it"
    )


def _open(path: Path, provider: str, threads: int) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise DetectorError(f"there is no model file {path}; give the path of an .onnx file, or motion")
    if path.stat().st_size == 0:
        raise DetectorError(f"{path} is empty; copy or download it again")
    names = [provider_name(provider, onnxruntime.get_available_providers())]
    if names != [_ON_CPU]:
        # What the provider does not know is run by the processor.
        names.append(_ON_CPU)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Spinning threads would burn the cores that the camera and the rest need while the model waits for a picture.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # It would try again with less and print so, where a file cannot be read as well.
        return onnxruntime.InferenceSession(path, options, providers=names, enable_fallback=0)
    except _DAMAGED as error:
        told = _first_line(error)
        if "external" in told.lower() or ".data" in told:
            raise DetectorError(
                f"{path} keeps its weights in another file, which is not beside it: {told}; copy both"
            ) from error
        raise DetectorError(
            f"{path} is not a model that ONNX Runtime can load: {told}; if it was downloaded or copied, it may be "
            "cut off"
        ) from error


def _input_shapes(
    session: onnxruntime.InferenceSession, size_px: tuple[int, int] | None
) -> dict[str, tuple[int | None, ...]]:
    """Shapes of all inputs, with `size_px` where the picture's size is left open."""
    shapes = {tensor.name: tuple(_size(n) for n in tensor.shape) for tensor in session.get_inputs()}
    name, channels_last = Signature(shapes, {}).find_picture()
    shape = list(shapes[name])
    if shape[0] not in (None, 1):
        raise DetectorError(f"the model takes {shape[0]} pictures at once; export it for one (batch size 1)")
    first = 1 if channels_last else 2
    for place, side in ((first, 1), (first + 1, 0)):
        if shape[place] is None and size_px is not None:
            shape[place] = size_px[side]
    shapes[name] = tuple(shape)
    return shapes


def _check_size(inputs: Mapping[str, tuple[int | None, ...]], wanted_px: tuple[int, int]) -> None:
    picture = Signature(inputs, {}).picture
    if (picture.width_px, picture.height_px) != wanted_px:
        raise DetectorError(
            f"input_size says {wanted_px[0]}x{wanted_px[1]}, and the model takes {picture.width_px}x"
            f"{picture.height_px} only; leave input_size out, or make a model for that size with "
            f"`stopline-agent models resize`"
        )


def _type_of(name: str, types: Mapping[str, str], allowed: Mapping[str, type[np.generic]]) -> type[np.generic]:
    if types[name] not in allowed:
        raise DetectorError(
            f"the model's input {name!r} is {types[name]}; export it with one of {', '.join(allowed)}"
        )
    return allowed[types[name]]


def _size(value: object) -> int | None:
    """A size of a shape; ONNX Runtime gives a name, or None, where the model leaves it open."""
    return value if isinstance(value, int) and value > 0 else None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
