"""What detectors call things, and which of them a counting line counts unless it is told otherwise."""

from collections.abc import Sequence

COCO_80 = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of the COCO data set, by the class ids that its detectors use."""

_SKIPPED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_91 = tuple(
    "" if n == 0 or n in _SKIPPED else COCO_80[n - 1 - sum(skipped < n for skipped in _SKIPPED)] for n in range(91)
)
"""The same by the numbers of the data set itself, which count from 1 and skip some: SSD models give those."""

MOVING_OBJECT = "object"
"""What `motion` calls all that moves: it tells no classes."""

VEHICLES = ("car", "bus", "truck", "motorcycle")
"""Counted by default. People and bicycles also use what lies beside the lanes: they are counted on request."""

TWO_WHEELED = frozenset(("motorcycle", "motorbike", "bicycle"))
"""No part of a car, a bus or a lorry is taken for one of these, though it may be in their boxes all the time."""

ANY = "any"
"""Asked for in place of class names: count whatever moves, and do not tell classes apart."""


def parse_classes(text: str) -> tuple[str, ...] | None:
    """Class names from a list with commas; None for `any`.

    Raises:
        ValueError: the list is empty, or mixes `any` with names.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    if not names:
        raise ValueError(f"no class is named; give some, as in {','.join(VEHICLES)}, or {ANY}")
    if ANY not in names:
        return names
    if len(names) > 1:
        raise ValueError(f"{ANY!r} stands alone: it takes in every class")
    return None


def class_ids(wanted: Sequence[str], known: Sequence[str]) -> tuple[int, ...]:
    """The ids of the `wanted` classes among those that a detector knows. Names it does not know are left out.

    The default asks for four classes, and a model of cars only is right to know one; none at all is a mistake.

    Raises:
        ValueError: it knows none of them.
    """
    names = {name.lower() for name in wanted}
    ids = tuple(number for number, name in enumerate(known) if name.lower() in names)
    if not ids:
        some = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise ValueError(
            f"the model knows none of {', '.join(wanted)}; it knows {some}; choose classes of it, or {ANY!r}"
        )
    return ids


def unknown_classes(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Those of the `wanted` classes that a detector does not know, so that none of them is ever counted.

    None where nobody chose them: the default, or all classes.
    """
    if wanted is None or tuple(wanted) == VEHICLES:
        return ()
    names = {name.lower() for name in known}
    return tuple(name for name in wanted if name.lower() not in names)
