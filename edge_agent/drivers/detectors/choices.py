"""What a configuration may say about how a model is fed and read. Needs no vision library: the agent checks it."""

from dataclasses import dataclass

DECODERS = (
    *("yolox", "yolov5", "yolov8", "nanodet", "picodet", "fastestdet"),
    *("detr", "detr-raw", "ssd", "end-to-end"),
)
"""Families of models that can be named, where a model's outputs alone do not tell them apart."""

NORMALISATIONS = ("bgr-255", "rgb-255", "bgr-1", "rgb-1", "bgr-imagenet", "rgb-imagenet")
"""Order of the colours, and the scale of the pixels: 0 to 255, 0 to 1, or by ImageNet's mean and deviation."""

CPU = "cpu"

MIN_INPUT_PX, MAX_INPUT_PX = 32, 4096


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How a model is run, where it shall not be as the model's own outside suggests.

    Attributes:
        decoder: one of `DECODERS`; None lets the outputs tell.
        normalisation: one of `NORMALISATIONS`; None takes what is usual for the family.
        input_size_px: width and height, for a model that leaves them open.
        provider: what runs the model, by the names of ONNX Runtime, long or short.
        threads: None leaves one core to the rest of the machine, and takes four at most.
    """

    decoder: str | None = None
    normalisation: str | None = None
    input_size_px: tuple[int, int] | None = None
    provider: str = CPU
    threads: int | None = None


def parse_input_size(text: str) -> tuple[int, int]:
    """Width and height from `416x320`, or from one number for both.

    Raises:
        ValueError: showing the form.
    """
    width, cross, height = text.lower().partition("x")
    height = height if cross else width
    if not (width.isdigit() and height.isdigit()):
        raise ValueError(f"{text!r} is no size; write WIDTHxHEIGHT in pixels, as 416x416")
    size_px = int(width), int(height)
    check_input_size(size_px)
    return size_px


def check_input_size(size_px: tuple[int, int]) -> None:
    """Refuse a size that no model is made for.

    Raises:
        ValueError: saying what is allowed.
    """
    if not all(MIN_INPUT_PX <= side <= MAX_INPUT_PX for side in size_px):
        raise ValueError(
            f"{size_px[0]}x{size_px[1]} is no size for a model's input; "
            f"each side has {MIN_INPUT_PX} to {MAX_INPUT_PX} pixels"
        )
