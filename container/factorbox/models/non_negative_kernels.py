"""A row of a non-negative factorization solved exactly: a quadratic minimised over v ≥ 0.

For a symmetric positive definite A the minimum of ½ vᵀA v − bᵀv over v ≥ 0 is the one point with

    v ≥ 0,   A v − b ≥ 0,   v · (A v − b) = 0

(Karush, Kuhn, Tucker). Coordinate descent comes near; then the active-set method of Lawson and Hanson (1974, chapter
23), which solves for the positive components by Cholesky, ends there up to rounding.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.dense_kernels import BLOCK_ITEMS, add_multiple, dot, factor, form, solve

_PASSES = 100
_NEAR = 1e-6
"""Coordinate descent ends once no step changes the gradient by more than this, relative to the largest |b|."""

_EXACT = 1e-11
"""What A v − b may be below 0, relative to the largest |b|."""

_RIDGE = 1e-8
"""What is added to the diagonal of a singular system, relative to its largest element."""


@kernel()
def descend(A, v, gradient):  # type: ignore[no-untyped-def]
    """Minimise over each component of `v` in turn; `gradient` holds A v − b and is kept up.

    Returns
    -------
    violation, largest
        The sum of |projected gradient|, each taken when its component was at its turn (0 at a solution), and the
        largest change that a step made to the gradient of its own component.
    """
    violation = 0.0
    largest = 0.0
    for t in range(len(v)):
        slope = gradient[t]
        if v[t] != 0.0 or slope < 0.0:
            violation += abs(slope)
            # A component that no row on the other side has can take any value: it stays.
            if A[t, t] > 0.0:
                new = max(v[t] - slope / A[t, t], 0.0)
                step = new - v[t]
                v[t] = new
                add_multiple(gradient, step, A[t])
                largest = max(largest, abs(step) * A[t, t])
    return violation, largest


@kernel()
def _approach(A, b, limit, v, gradient):  # type: ignore[no-untyped-def]
    """Descend from 0 until the steps are small."""
    v[:] = 0.0
    for f in range(len(b)):
        gradient[f] = -b[f]
    for _ in range(_PASSES):
        _, largest = descend(A, v, gradient)
        # Written so that NaN ends it, too.
        if not largest > limit:
            break


@kernel()
def _solve_members(A, b, members, U, s):  # type: ignore[no-untyped-def]
    """Solve for some components alone, the others being 0; false where that cannot be factored."""
    n = len(members)
    for i in range(n):
        own = A[members[i]]
        s[i] = b[members[i]]
        for j in range(i, n):
            U[i, j] = own[members[j]]
    if not factor(U[:n, :n]):
        return False
    solve(U[:n, :n], s[:n])
    return True


@kernel()
def _step(members, s, v, free):  # type: ignore[no-untyped-def]
    """Go from `v` to the solution `s` of its members, but no further than to the first that would be negative.

    Returns whether it got there; if not, every member that became 0 is not free any more.
    """
    length = 1.0
    stopped_by = -1
    for k in range(len(members)):
        if s[k] <= 0.0:
            own = v[members[k]]
            possible = own / (own - s[k]) if own > 0.0 else 0.0
            if possible < length or stopped_by < 0:
                length = possible
                stopped_by = k
    if stopped_by < 0:
        for k in range(len(members)):
            v[members[k]] = s[k]
        return True
    for k in range(len(members)):
        t = members[k]
        v[t] += length * (s[k] - v[t])
        if k == stopped_by or v[t] <= 0.0:
            v[t] = 0.0
            free[t] = False
    return False


@kernel()
def _finish(A, b, limit, v, gradient, U):  # type: ignore[no-untyped-def]
    """Go on from a `v` ≥ 0 to the solution; false where a system cannot be factored.

    Every step lowers the objective or takes a component out. Should rounding let components come and go for ever,
    the number of steps ends it, at a v ≥ 0 that is as good as the last.
    """
    m = len(b)
    free = v > 0.0
    barred = np.zeros(m, dtype=np.bool_)
    s = np.empty(m)
    entered = -1
    for _ in range(30 + 5 * m):
        members = np.flatnonzero(free)
        if not _solve_members(A, b, members, U, s):
            return False
        if not _step(members, s, v, free):
            if entered >= 0 and not free[entered]:
                # Its slope was rounding: it would come back at once.
                barred[entered] = True
            entered = -1
        else:
            entered = -1
            for t in range(m):
                gradient[t] = -b[t]
            for k in range(len(members)):
                add_multiple(gradient, v[members[k]], A[members[k]])
            steepest = -limit
            for t in range(m):
                if not free[t] and not barred[t] and gradient[t] < steepest:
                    steepest = gradient[t]
                    entered = t
            if entered < 0:
                break
            free[entered] = True
    return True


@kernel()
def solve_non_negative(A, b, v, gradient, U):  # type: ignore[no-untyped-def]
    """Write the minimum over v ≥ 0 to `v`; false where numbers are not finite or A is not positive semidefinite.

    Parameters
    ----------
    A, b
        float64, (m, m) and (m,); of `A` the upper triangle. Both triangles are filled, and a small ridge is added to
        the diagonal where A is singular in the components that are positive.
    v
        float64, (m,).
    gradient, U
        Scratch, (m,) and (m, m).
    """
    m = len(b)
    largest = 0.0
    finite = True
    for i in range(m):
        for j in range(i + 1, m):
            A[j, i] = A[i, j]
    for i in range(m):
        largest = max(largest, abs(b[i]))
        finite &= np.isfinite(b[i]) and np.isfinite(A[i, i])
    if not finite:
        return False
    if not b.max() > 0.0:
        v[:] = 0.0
        return True
    _approach(A, b, _NEAR * largest, v, gradient)
    if _finish(A, b, _EXACT * largest, v, gradient, U):
        return True
    greatest = 0.0
    for i in range(m):
        greatest = max(greatest, A[i, i])
    for i in range(m):
        A[i, i] += _RIDGE * greatest
    _approach(A, b, _NEAR * largest, v, gradient)
    return _finish(A, b, _EXACT * largest, v, gradient, U)


@kernel()
def solve_rows_non_negative(  # type: ignore[no-untyped-def]
    start, stop, indptr, indices, c, fp, h, gram, constant, penalties, factors, explained
):
    """Write the solution of each history from `start` to `stop` to `factors`.

    Parameters
    ----------
    start, stop
        The range of histories.
    indptr, indices, c, fp, h, gram, constant, penalties
        See `factorbox.models.dense_kernels.form` and `factorbox.models.row_system.RowSystem`; `c` and `fp` are those of
        all entries, `penalties` those of all histories.
    factors
        float32, (histories, d).
    explained
        float64, (histories,): receives bᵀv, which is vᵀA v at a solution.

    Returns
    -------
    int
        The first history that could not be solved, −1 if there is none.
    """
    m = len(gram)
    A = np.empty((m, m))
    U = np.empty((m, m))
    b = np.empty(m)
    v = np.empty(m)
    gradient = np.empty(m)
    block = np.empty((BLOCK_ITEMS, m))
    for row in range(start, stop):
        own = slice(indptr[row], indptr[row + 1])
        form(indices[own], c[own], fp[own], h, gram, constant, penalties[row], block, A, b)
        if not solve_non_negative(A, b, v, gradient, U):
            return row
        factors[row] = v
        explained[row] = dot(b, v)
    return -1
