from __future__ import annotations

import numpy as np

from factorbox.report.seriation import spectral_order


def test_vectors_along_an_arc_are_put_in_order_again_but_for_neighbours(rng: np.random.Generator) -> None:
    angles = np.linspace(0.1, 1.4, 30)
    arc = np.column_stack([np.cos(angles), np.sin(angles)])
    shuffled = rng.permutation(30)
    order = shuffled[spectral_order(arc[shuffled])]
    forwards = order if order[0] < order[-1] else order[::-1]
    assert np.abs(forwards - np.arange(30)).max() <= 3


def test_two_groups_stand_apart() -> None:
    vectors = np.tile([[1.0, 0.0, 0.2], [0.0, 1.0, 0.2]], (10, 1))
    order = spectral_order(vectors)
    assert {*order[:10].tolist()} in ({*range(0, 20, 2)}, {*range(1, 20, 2)})
    assert 0 in order[:10]


def test_every_vector_stands_once_whatever_the_vectors() -> None:
    for vectors in (np.zeros((5, 2)), np.ones((4, 1)), np.ones((1, 3)), np.zeros((0, 3)), np.eye(2)):
        assert sorted(spectral_order(vectors).tolist()) == [*range(len(vectors))]
