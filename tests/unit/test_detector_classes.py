"""Which classes are asked for, and which of them a detector knows."""

import pytest

from edge_agent.domain.classes import COCO_80, VEHICLES, class_ids, parse_classes, unknown_classes


def test_coco_has_its_ids() -> None:
    assert len(COCO_80) == len(set(COCO_80)) == 80
    assert [COCO_80.index(name) for name in ("person", "car", "bus", "truck", "toothbrush")] == [0, 2, 5, 7, 79]
    assert set(VEHICLES) < set(COCO_80)


@pytest.mark.parametrize(
    ("text", "classes"),
    [("car", ("car",)), (" Car , bus,car,", ("car", "bus")), ("any", None), ("traffic light", ("traffic light",))],
)
def test_parsed(text: str, classes: tuple[str, ...] | None) -> None:
    assert parse_classes(text) == classes


@pytest.mark.parametrize(("text", "words"), [("", "no class is named"), (" ,", "no class"), ("car,any", "alone")])
def test_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_classes(text)


def test_a_model_of_cars_only_is_right_to_know_one_of_the_default() -> None:
    assert class_ids(VEHICLES, ("Car", "plate")) == (0,)


def test_a_class_that_is_misspelt_is_told() -> None:
    assert class_ids(("car", "Truck", "lorry"), COCO_80) == (2, 7)
    assert unknown_classes(("car", "Truck", "lorry"), COCO_80) == ("lorry",)
    assert unknown_classes(None, COCO_80) == ()
    assert unknown_classes(VEHICLES, ("Car", "plate")) == ()


def test_a_model_that_knows_none_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="knows none of elk; it knows cat, dog"):
        class_ids(("elk",), ("cat", "dog"))
