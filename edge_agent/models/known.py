"""The models that `models pull` knows: where each is, what it weighs, and what it is good for.

Every file is pinned by its size and hash, so that no server can give another one. None of them was tried from here
over a network; sizes and hashes were compared between several independent projects that use the same files.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/d1139c7934d9be1b7a8af3671dfa8d2fe3f74b00/models"
_APACHE = "Apache-2.0"


class ModelError(Exception):
    """A model is not there, not what it should be, or cannot be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One file.

    Attributes:
        n_bytes: its size.
        input_px: the width and height that it sees.
        licence: of the project that publishes it.
    """

    name: str
    url: str
    n_bytes: int
    sha256: str
    licence: str
    input_px: tuple[int, int]
    good_for: str

    @property
    def remote_name(self) -> str:
        """What the file is called where it comes from."""
        return PurePosixPath(self.url).name


KNOWN_MODELS = (
    KnownModel(
        "yolox-nano",
        f"{_YOLOX}/yolox_nano.onnx",
        3_659_407,
        "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        _APACHE,
        (416, 416),
        "the first choice for a Pi: COCO's 80 classes, street views",
    ),
    KnownModel(
        "yolox-tiny",
        f"{_YOLOX}/yolox_tiny.onnx",
        20_219_662,
        "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        _APACHE,
        (416, 416),
        "finds more than yolox-nano, at several times its cost: a Pi 5",
    ),
    KnownModel(
        "yolox-s",
        f"{_YOLOX}/yolox_s.onnx",
        35_858_002,
        "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        _APACHE,
        (640, 640),
        "small and distant vehicles; too slow for a Pi 4",
    ),
    KnownModel(
        "yolox-s-int8",
        f"{_ZOO}/object_detection_yolox/object_detection_yolox_2022nov_int8.onnx",
        9_079_452,
        "01a3b0f400b30bc1e45230e991b2e499ab42622485a330021947333fbaf03935",
        _APACHE,
        (640, 640),
        "yolox-s at a quarter of its size; not faster",
    ),
    KnownModel(
        "yolox-s-int8bq",
        f"{_ZOO}/object_detection_yolox/object_detection_yolox_2022nov_int8bq.onnx",
        9_744_418,
        "dcaae0aaa2fea4167f89235ee340eb869d3707b25712218d4c7ce921ac90e2ba",
        _APACHE,
        (640, 640),
        "the same, quantised in blocks",
    ),
    KnownModel(
        "nanodet-m",
        f"{_ZOO}/object_detection_nanodet/object_detection_nanodet_2022nov.onnx",
        3_800_954,
        "4b82da9944b88577175ee23a459dce2e26e6e4be573def65b1055dc2d9720186",
        _APACHE,
        (416, 416),
        "an alternative to yolox-nano: COCO's 80 classes",
    ),
    KnownModel(
        "nanodet-m-int8",
        f"{_ZOO}/object_detection_nanodet/object_detection_nanodet_2022nov_int8.onnx",
        1_031_424,
        "8dd32b85f2d273e9047f1d6b59e0b2fd008b1076338107bb547ac28942cdf90b",
        _APACHE,
        (416, 416),
        "nanodet-m in 1 MB; not faster",
    ),
    KnownModel(
        "nanodet-m-int8bq",
        f"{_ZOO}/object_detection_nanodet/object_detection_nanodet_2022nov_int8bq.onnx",
        1_123_958,
        "8a2c877cc6f09e7dfac7a9066e33ee5ae68de530b3b994f6ee9125cff6e34d3f",
        _APACHE,
        (416, 416),
        "the same, quantised in blocks",
    ),
)


def known_model(name: str) -> KnownModel | None:
    """The model of this name, if it is known."""
    return next((model for model in KNOWN_MODELS if model.name == name), None)


def known_by_sha256(sha256: str) -> KnownModel | None:
    """The model with this content, if it is known."""
    return next((model for model in KNOWN_MODELS if model.sha256 == sha256), None)
