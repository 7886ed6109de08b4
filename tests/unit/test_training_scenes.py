"""The scenes that the bundled model is trained on: drawn alike from one seed, and labelled truly."""

import math
from functools import cache
from itertools import islice

import numpy as np
import pytest

from edge_agent.domain.frames import Image
from edge_agent.training import bodies, scenes
from edge_agent.training.bodies import CLASSES, MAKERS, Floats
from edge_agent.training.scenes import Drawn, draw_scene
from edge_agent.training.street import street_pictures
from edge_agent.training.view import View, random_view

SIZE_PX = (416, 256)


def straight_down(height_m: float = 12.0, focal_px: float = 300.0) -> View:
    axes = np.asarray([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]])
    return View(SIZE_PX, height_m, math.pi / 2, focal_px, axes, 100.0)


def some(seed: int, n: int) -> list[Drawn]:
    return list(islice(scenes.scenes(seed, SIZE_PX), n))


@cache
def many() -> tuple[Drawn, ...]:
    """Drawn once for all who only look at them."""
    return tuple(some(2, 120))


def test_a_seed_gives_the_same_scenes_and_another_gives_others() -> None:
    first, again, other = some(4, 3), some(4, 3), some(5, 3)
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.boxes_px, b.boxes_px)
        assert np.array_equal(a.class_ids, b.class_ids)
    assert not any(np.array_equal(a.image, c.image) for a, c in zip(first, other, strict=True))


def test_boxes_lie_in_the_picture_and_have_classes() -> None:
    drawn = many()
    boxes = np.concatenate([one.boxes_px for one in drawn])
    ids = np.concatenate([one.class_ids for one in drawn])
    assert len(ids) > 60
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= SIZE_PX).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert set(ids.tolist()) <= set(range(-1, len(CLASSES)))
    sides = (boxes[:, 2:] - boxes[:, :2])[ids >= 0]
    assert sides.min() >= scenes.MIN_SIDE_PX


def test_scenes_are_of_every_kind() -> None:
    """All classes, views from straight above to the horizon, dark and bright pictures, empty and crowded ones."""
    drawn = many()
    assert {int(i) for one in drawn for i in one.class_ids} >= set(range(len(CLASSES)))
    levels = [float(one.image.mean()) for one in drawn]
    assert min(levels) < 50
    assert max(levels) > 150
    numbers = [len(one.class_ids) for one in drawn]
    assert min(numbers) == 0
    assert max(numbers) > 12
    rng = np.random.default_rng(3)
    pitches = [math.degrees(random_view(rng, SIZE_PX).pitch) for _ in range(200)]
    assert min(pitches) < 10
    assert max(pitches) > 85


@pytest.fixture
def one_body(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Draw scenes that hold nothing but the given bodies, at given places, seen from straight above by day."""

    def draw(*placed: scenes._Placed) -> Drawn:
        monkeypatch.setattr(scenes, "random_view", lambda rng, size: straight_down())
        monkeypatch.setattr(scenes, "_place_all", lambda rng, view, ground: list(placed))
        monkeypatch.setattr(scenes, "through_sensor", _as_is)
        return draw_scene(np.random.default_rng(1), SIZE_PX)

    return draw


def _as_is(rng: np.random.Generator, picture: Image, *, night: bool) -> Image:
    return picture


@pytest.mark.parametrize("cls", sorted(MAKERS))
def test_a_box_is_where_the_body_is(cls: str, one_body) -> None:  # type: ignore[no-untyped-def]
    body = MAKERS[cls][0](np.random.default_rng(8))
    view = straight_down()
    placed = scenes._Placed(body, 0.4, -0.3, 0.6)
    drawn = one_body(placed)
    points = [scenes._rim(solid, end) for solid in body.solids for end in (0, 1)]
    points += [stroke.points_m for stroke in body.strokes]
    pixels, _ = view.project(placed.to_world(np.concatenate(points)))
    expected = np.clip([*pixels.min(0), *pixels.max(0)], 0, [*SIZE_PX, *SIZE_PX])
    assert drawn.class_ids.tolist() == [CLASSES.index(cls)]
    assert drawn.boxes_px[0] == pytest.approx(expected, abs=1.6)


def test_what_is_hidden_is_not_asked_for(one_body) -> None:  # type: ignore[no-untyped-def]
    """A person below a lorry that is drawn later is to be ignored; beside it, it is to be found."""
    rng = np.random.default_rng(5)
    person, truck = bodies.person(rng), bodies.truck(rng)
    below = one_body(scenes._Placed(person, 0.1, 0.0, 0.0), scenes._Placed(truck, 0.0, 0.0, 0.0))
    assert sorted(below.class_ids.tolist())[-1] == CLASSES.index("truck")
    assert CLASSES.index("person") not in below.class_ids
    beside = one_body(scenes._Placed(person, 3.5, 0.0, 0.0), scenes._Placed(truck, 0.0, 0.0, 0.0))
    assert CLASSES.index("person") in beside.class_ids


def test_clutter_has_no_label(one_body) -> None:  # type: ignore[no-untyped-def]
    body = bodies.clutter(np.random.default_rng(2))
    assert body.cls is None
    drawn = one_body(scenes._Placed(body, 0.0, 0.0, 0.0))
    assert len(drawn.class_ids) == 0


def test_a_view_projects_and_finds_back() -> None:
    rng = np.random.default_rng(11)
    for _ in range(50):
        view = random_view(rng, SIZE_PX)
        x, y = rng.uniform(0, SIZE_PX[0]), rng.uniform(SIZE_PX[1] / 2, SIZE_PX[1])
        ground: Floats | None = view.ground_at(x, y)
        if ground is None:
            continue
        pixels, depth = view.project(np.asarray([[*ground, 0.0]]))
        assert depth[0] > 0
        assert pixels[0] == pytest.approx([x, y], abs=1e-6)


def test_streets_of_the_simulator_are_labelled() -> None:
    """Boxes of the simulator's own vehicles: where they are, the picture differs from the street without them."""
    rng = np.random.default_rng(6)
    drawn = [one for _ in range(2) for one in street_pictures(rng, SIZE_PX)]
    assert sum((one.class_ids >= 0).sum() for one in drawn) > 20
    assert all((one.boxes_px[:, 3] <= 235).all() for one in drawn)
    assert {one.image.shape for one in drawn} == {(256, 416, 3)}
