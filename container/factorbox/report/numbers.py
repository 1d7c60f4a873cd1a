"""Numbers in words, and arrays as report.json holds them: unrounded, and null where there is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from factorbox.report.charts import count


def counted(number: int, noun: str) -> str:
    """Return how many there are of something: `1 user`, `1,200 users`."""
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")


def numbers(values: NDArray[Any]) -> list[Any]:
    """Return an array of any shape as nested lists, None for each number that is not finite: JSON has no others."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        plain = values.astype(np.float64).astype(object)
        plain[~np.isfinite(values)] = None
        return list(plain.tolist())
    return list(values.tolist())
