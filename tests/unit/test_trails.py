"""Trails: what is kept of where vehicles went, and that it stays small."""

from collections.abc import Iterable

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.tracking import Tracks
from edge_agent.domain.trails import COLUMNS, MAX_LIVE, MAX_SAMPLES, TrailBook, moving

SIZE_PX = (640, 360)


def tracks(*rows: tuple[int, float, float], seen: bool = True, confirmed: bool = True) -> Tracks:
    """Boxes of 40x40 px around (id, x, y)."""
    n = len(rows)
    places = np.array([row[1:] for row in rows], np.float64).reshape(-1, 2)
    return Tracks(
        ids=np.array([row[0] for row in rows], np.int64),
        boxes_px=np.concatenate([places - 20, places + 20], axis=1),
        velocities_px_s=np.zeros((n, 4)),
        class_ids=np.zeros(n, np.int64),
        confidences=np.ones(n),
        seen=np.full(n, seen),
        confirmed=np.full(n, confirmed),
        standing=np.zeros(n, np.bool_),
        born_s=np.zeros(n),
        seen_s=np.zeros(n),
        class_names=("car",),
    )


def drive(book: TrailBook, number: int, places: Iterable[tuple[float, float]], from_s: float = 0.0) -> None:
    """One vehicle goes its way, ten pictures a second, and is gone."""
    for step, (x, y) in enumerate(places):
        book.update(tracks((number, x, y)), from_s + step / 10)
    book.update(tracks(), from_s + 999.0)


def test_a_way_becomes_a_trail_with_its_direction_in_every_cell() -> None:
    book = TrailBook(SIZE_PX)
    drive(book, 1, [(50 + 30 * i, 100) for i in range(18)])
    (trail,) = book.trails()
    assert trail.middles_px[0].tolist() == [50, 100]
    assert trail.middles_px[-1].tolist() == [560, 100]
    heat = book.heat()
    # Steps are longer than a cell is wide: none is left out, and each is entered once.
    assert heat.passes[5, 2:29].tolist() == [1] * 27
    assert heat.passes.sum() == 27
    assert heat.ways[5, 10].tolist() == [1.0, 0.0]


def test_ways_to_and_fro_cancel_out() -> None:
    book = TrailBook(SIZE_PX)
    drive(book, 1, [(50 + 10 * i, 100) for i in range(50)])
    drive(book, 2, [(540 - 10 * i, 100) for i in range(50)], from_s=2000.0)
    heat = book.heat()
    assert heat.passes[5, 10] == 2
    assert np.abs(heat.ways[5, 10]).max() < 1e-9


def test_what_stands_or_is_not_sure_leaves_no_mark() -> None:
    book = TrailBook(SIZE_PX)
    for step in range(100):
        book.update(tracks((1, 100 + step % 2, 100)), step / 10)
        book.update(tracks((2, 300 + 5 * step, 100), confirmed=False), step / 10 + 0.01)
        book.update(tracks((3, 300 + 5 * step, 200), seen=False), step / 10 + 0.02)
    assert book.heat().passes.sum() == 0
    assert moving(book.trails()) == []


def test_numbers_that_come_again_after_a_restart_are_other_vehicles() -> None:
    book = TrailBook(SIZE_PX)
    for step in range(10):
        book.update(tracks((1, 100 + 20 * step, 100)), step / 10)
    book.restart_tracks()
    for step in range(10):
        book.update(tracks((1, 100 + 20 * step, 300)), 10 + step / 10)
    assert [trail.middles_px[0, 1] for trail in book.trails()] == [100, 300]


@settings(max_examples=20)
@given(n=st.integers(1, 120), most=st.integers(1, 30), seed=st.integers(0, 5))
def test_the_sample_is_bounded_and_holds_the_newest_too(n: int, most: int, seed: int) -> None:
    book = TrailBook(SIZE_PX, max_trails=most, seed=seed)
    for number in range(n):
        drive(book, number, [(40 * i, 100) for i in range(1, 6)], from_s=2000.0 * number)
    assert book.n_trails == n
    assert len(book.trails()) == min(n, most)


def test_the_sample_is_fair() -> None:
    """Of 60 trails 20 are kept: the late ones as often as the early ones."""
    late = 0
    for seed in range(40):
        book = TrailBook(SIZE_PX, max_trails=20, seed=seed)
        for number in range(60):
            drive(book, number, [(40 * i, 100) for i in range(1, 5)], from_s=2000.0 * number)
        late += sum(trail.times_s[0] >= 2000.0 * 30 for trail in book.trails())
    assert 0.4 < late / (40 * 20) < 0.6


def test_a_long_stay_and_a_crowd_stay_small() -> None:
    book = TrailBook(SIZE_PX)
    for step in range(1000):
        book.update(tracks((1, 320 + 200 * np.sin(step / 5), 100)), float(step))
    assert len(book.trails()[0].times_s) <= MAX_SAMPLES
    assert book.trails()[0].times_s[-1] == 999.0
    book.update(tracks(*((number, 10.0, 10.0) for number in range(2, 1000))), 1000.0)
    assert len(book._live) <= MAX_LIVE
    assert book.heat().passes.shape[1] == COLUMNS


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
        max_size=4,
        unique_by=lambda r: r[0],
    )
)
def test_boxes_far_outside_do_no_harm(rows: list[tuple[int, float, float]]) -> None:
    book = TrailBook((1, 1))
    for t_s in range(3):
        book.update(tracks(*rows), float(t_s))
        book.update(tracks(*((number, x + 50, y) for number, x, y in rows)), t_s + 0.5)
    assert np.isfinite(book.heat().ways).all()
