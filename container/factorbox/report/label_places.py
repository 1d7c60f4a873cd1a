"""Where the labels of points stand in a scatter plot, so that no label covers another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HIDDEN, RIGHT, LEFT, ABOVE, BELOW = range(5)
"""Where a label stands from its point; hidden where there is no room for it."""


class Plot(NamedTuple):
    """The extent of a plot and its text, in pixels.

    Attributes
    ----------
    width, height
        Of the plot.
    padding
        Room between the outermost points and the frame.
    line, character
        Height of a line and mean width of a character.
    gap
        Room between a point and its label.
    """

    width: float
    height: float
    padding: float
    line: float
    character: float
    gap: float


def label_places(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    labels: Sequence[str],
    *,
    within: tuple[tuple[float, float], tuple[float, float]],
    plot: Plot,
) -> list[int]:
    """Return where each label stands: one after the other takes the first place that is free.

    Parameters
    ----------
    x, y
        (points,): coordinates.
    labels
        Of the points, the most important first.
    within
        The extent of both axes, without the padding.
    plot
        What it is drawn on.
    """
    across = _pixels(x, within[0], length=plot.width, padding=plot.padding)
    down = plot.height - _pixels(y, within[1], length=plot.height, padding=plot.padding)
    reach = plot.gap / 2
    # What is taken, as left, right, top and bottom: the points, and after them the labels that have a place.
    taken = np.empty((2 * len(labels), 4))
    taken[: len(labels)] = np.column_stack([across - reach, across + reach, down - reach, down + reach])
    n_taken = len(labels)
    places = []
    for position, label in enumerate(labels):
        others = np.delete(taken[:n_taken], position, axis=0)
        place, box = _first_free(_candidates(across[position], down[position], len(label), plot), others, plot)
        if place != HIDDEN:
            taken[n_taken] = box
            n_taken += 1
        places.append(place)
    return places


def _pixels(
    values: NDArray[np.float64], extent: tuple[float, float], *, length: float, padding: float
) -> NDArray[np.float64]:
    low, high = extent
    span = high - low if high > low else 1.0
    return padding + (values - low) / span * (length - 2 * padding)


def _candidates(a: float, b: float, characters: int, plot: Plot) -> NDArray[np.float64]:
    """Return the boxes of a label to the right of its point, to the left, above and below.  # (4, 4)."""
    wide, half, gap = characters * plot.character, plot.line / 2, plot.gap
    return np.array(
        [
            (a + gap, a + gap + wide, b - half, b + half),
            (a - gap - wide, a - gap, b - half, b + half),
            (a - wide / 2, a + wide / 2, b - gap - plot.line, b - gap),
            (a - wide / 2, a + wide / 2, b + gap, b + gap + plot.line),
        ]
    )


def _first_free(boxes: NDArray[np.float64], others: NDArray[np.float64], plot: Plot) -> tuple[int, NDArray[np.float64]]:
    """Return the first box that lies in the plot and crosses no other, and the place that it stands for."""
    left, right, top, bottom = boxes.T
    inside = (left >= 0) & (right <= plot.width) & (top >= 0) & (bottom <= plot.height)
    crosses = (left[:, None] < others[:, 1]) & (others[:, 0] < right[:, None])
    crosses &= (top[:, None] < others[:, 3]) & (others[:, 2] < bottom[:, None])
    free = np.flatnonzero(inside & ~crosses.any(axis=1))
    return (RIGHT + int(free[0]), boxes[free[0]]) if len(free) else (HIDDEN, boxes[0])
