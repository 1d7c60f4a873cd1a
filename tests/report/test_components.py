from __future__ import annotations

import numpy as np
import pytest

from factorbox.report.components import principal_components


@pytest.mark.parametrize("shape", [(40, 6), (5, 30), (3, 3), (2, 8)])
def test_coordinates_and_shares_are_those_of_the_singular_values(
    rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    vectors = rng.standard_normal(shape) * np.arange(1, shape[1] + 1)
    found = principal_components(vectors.astype(np.float32))
    left, singular, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    count = min(3, shape[0] - 1, shape[1])
    assert len(found) == count
    np.testing.assert_allclose(found.explained, (singular**2 / (singular**2).sum())[:count], rtol=1e-5)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(left * singular)[:, :count], atol=1e-4 * singular[0])


def test_each_component_points_to_its_farthest_coordinate(rng: np.random.Generator) -> None:
    found = principal_components(rng.standard_normal((50, 5))).coordinates
    farthest = np.abs(found).argmax(axis=0)
    assert (found[farthest, range(3)] > 0).all()


def test_of_two_that_are_equally_far_the_first_is_positive() -> None:
    found = principal_components(np.array([[-0.3, 0.1], [0.3, -0.1]]))
    assert found.coordinates[:, 0] == pytest.approx([0.1**0.5, -(0.1**0.5)])


def test_the_same_vectors_give_the_same_signs_when_they_are_mirrored(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((30, 4))
    mirrored = principal_components(vectors * [1, -1, 1, -1]).coordinates
    np.testing.assert_allclose(principal_components(vectors).coordinates, mirrored, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e17, 1e-20])
@pytest.mark.parametrize("shape", [(1, 4), (7, 3), (3, 7)])
def test_equal_vectors_have_no_components(value: float, shape: tuple[int, int]) -> None:
    found = principal_components(np.full(shape, value, dtype=np.float32))
    assert len(found) == 0
    assert found.coordinates.shape == (shape[0], 0)


def test_vectors_on_a_line_have_one_component() -> None:
    found = principal_components(np.outer(np.arange(5.0), [1, 2, 3]) + 7)
    assert found.explained == pytest.approx([1.0])
