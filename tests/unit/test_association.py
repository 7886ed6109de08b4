"""Pairing is fast in roundabout ways; here it is held against the plain ones."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.domain.association import AssociationParams, best_pairs, pair_costs
from edge_agent.domain.motion_model import STATE_ROWS, MotionModel, MotionParams

PARAMS = AssociationParams()


def _plain_cost(state: np.ndarray, cls: int, known: bool, missed_s: float, box: np.ndarray, box_cls: int) -> float:
    """The cost of one pair, as its definition reads."""
    x, y, width, height = state[:4]
    area = width * height
    most = PARAMS.known_place if known else PARAMS.unknown_place
    spread = min(state[8], most**2 * area) + PARAMS.place_error**2 * area
    distance = ((x - box[0]) ** 2 + (y - box[1]) ** 2) / spread
    for size, seen in ((width, box[2]), (height, box[3])):
        distance += math.log(size / seen) ** 2 / (PARAMS.size_error**2 + state[9] / size**2)
    if distance > PARAMS.gate:
        return math.inf
    cost = distance + 2 * math.log(spread / area) + PARAMS.missed_cost * missed_s
    return float(cost + PARAMS.class_change * (cls != box_cls))


@pytest.mark.parametrize("offset_px", [0.0, 900.0, 60000.0])
def test_costs_are_those_of_the_definition(offset_px: float) -> None:
    random = np.random.default_rng(4)
    boxes = random.uniform((0, 0, 20, 20), (200, 200, 60, 60), (14, 4)).T
    boxes[:2] += offset_px
    model = MotionModel(MotionParams())
    states = model.begin(boxes[:, :9] + random.normal(0, 3, (4, 9)))
    model.predict(states, 0.2, None)
    assert states.shape == (STATE_ROWS, 9)
    classes, known, missed_s = random.integers(0, 2, 9), random.random(9) < 0.5, random.uniform(0, 0.5, 9)
    box_classes = random.integers(0, 2, 14)
    costs = pair_costs(states, classes, known, missed_s, boxes, box_classes, PARAMS)
    plain = [
        [
            _plain_cost(states[:, i], classes[i], known[i], missed_s[i], boxes[:, j], box_classes[j])
            for j in range(14)
        ]
        for i in range(9)
    ]
    assert np.isfinite(costs).sum() > 20
    assert costs == pytest.approx(np.array(plain), abs=1e-4)


def _total(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray, unlikely: float) -> float:
    return float(costs[rows, columns].sum()) + unlikely * (len(costs) - len(rows))


@settings(max_examples=150)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6), st.booleans())
def test_no_other_pairing_costs_less(n: int, m: int, seed: int, crowded: bool) -> None:
    costs = np.random.default_rng(seed).uniform(-5, 12, (n, m))
    costs[:, 0] -= 8 if crowded else 0  # all want one box
    costs[costs > 9] = np.inf
    unlikely = 7.0
    rows, columns = best_pairs(costs, unlikely)
    assert len(set(rows.tolist())) == len(rows)
    assert len(set(columns.tolist())) == len(columns)
    assert (costs[rows, columns] < unlikely).all()
    choices = itertools.product(range(-1, m), repeat=n)
    fair = [one for one in choices if len({c for c in one if c >= 0}) == sum(c >= 0 for c in one)]
    least = min(sum(unlikely if c < 0 else min(costs[i, c], unlikely) for i, c in enumerate(one)) for one in fair)
    assert _total(costs, rows, columns, unlikely) == pytest.approx(least)
