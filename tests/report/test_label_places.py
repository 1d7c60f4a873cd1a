from __future__ import annotations

import numpy as np

from factorbox.report.label_places import ABOVE, BELOW, HIDDEN, LEFT, RIGHT, Plot, label_places

PLOT = Plot(width=400, height=300, padding=10, line=12, character=6, gap=6)
WITHIN = ((0.0, 1.0), (0.0, 1.0))


def boxes(x: np.ndarray, y: np.ndarray, labels: list[str], places: list[int]) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for a, b, label, place in zip(10 + x * 380, 290 - y * 280, labels, places, strict=True):
        wide = 6 * len(label)
        left = {RIGHT: a + 6, LEFT: a - 6 - wide}.get(place, a - wide / 2)
        top = {ABOVE: b - 18, BELOW: b + 6}.get(place, b - 6)
        if place != HIDDEN:
            found.append((left, left + wide, top, top + 12))
    return found


def test_a_label_with_room_stands_to_the_right_and_at_the_edge_to_the_left() -> None:
    places = label_places(np.array([0.2, 1.0]), np.array([0.5, 0.2]), ["inside", "edge"], within=WITHIN, plot=PLOT)
    assert places == [RIGHT, LEFT]


def test_labels_of_points_in_one_place_are_hidden_but_for_those_with_room() -> None:
    places = label_places(np.full(6, 0.5), np.full(6, 0.5), ["label"] * 6, within=WITHIN, plot=PLOT)
    assert places.count(HIDDEN) == 2
    assert {*places} == {HIDDEN, RIGHT, LEFT, ABOVE, BELOW}


def test_labels_cross_neither_one_another_nor_the_frame(rng: np.random.Generator) -> None:
    x, y = rng.random(40), rng.random(40)
    labels = ["x" * int(length) for length in rng.integers(1, 20, size=40)]
    shown = boxes(x, y, labels, label_places(x, y, labels, within=WITHIN, plot=PLOT))
    assert len(shown) >= 10
    for k, (left, right, top, bottom) in enumerate(shown):
        assert left >= 0 and right <= 400 and top >= 0 and bottom <= 300
        for other in shown[:k]:
            assert left >= other[1] or other[0] >= right or top >= other[3] or other[2] >= bottom


def test_points_that_do_not_differ_have_labels_too() -> None:
    assert label_places(np.zeros(1), np.zeros(1), ["one"], within=((0.0, 0.0), (0.0, 0.0)), plot=PLOT) == [RIGHT]
