"""The inner loop of the ranking by popularity."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel


@kernel()
def first_unseen(order, n_items, seen_indptr, seen, rows):  # type: ignore[no-untyped-def]
    """Fill each row, (rows, k), with the first k items of `order` that its user has not seen; what is left stays."""
    seen_by = np.full(n_items, -1, dtype=np.int64)
    for row in range(len(rows)):
        for i in seen[seen_indptr[row] : seen_indptr[row + 1]]:
            seen_by[i] = row
        found = 0
        for i in order:
            if found == rows.shape[1]:
                break
            if seen_by[i] != row:
                rows[row, found] = i
                found += 1
