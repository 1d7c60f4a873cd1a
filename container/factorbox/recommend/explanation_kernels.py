"""The inner loops of explanations: one factorization a request, a solve for each explained item, the best reasons."""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.dense_kernels import BLOCK_ITEMS, dot, solve
from factorbox.recommend.row_kernels import form_and_factor, product


@kernel()
def find_own(indptr, indices, starts, explained, own):  # type: ignore[no-untyped-def]
    """Write to `own` where in its request's history each explained item stands; −1 where it is not in it.

    The items of request r are `explained[starts[r]:starts[r + 1]]`.
    """
    for request in range(len(starts) - 1):
        history = indices[indptr[request] : indptr[request + 1]]
        for row in range(starts[request], starts[request + 1]):
            place = np.searchsorted(history, explained[row])
            own[row] = place if place < len(history) and history[place] == explained[row] else -1


@kernel()
def _largest(impacts, influences, own, keys, n, item_indices, indices, out_impacts, out_influences):  # type: ignore[no-untyped-def]
    """Write the n largest impacts, their items and influences, but not those at `own`: descending, ties by index."""
    # As one ascending integer each: the bits of negative floats order backwards. A history is sorted by item.
    bits = impacts.view(np.int32)
    size = 0
    for k in range(len(impacts)):
        if k != own:
            ascending = np.int64(bits[k]) if bits[k] >= 0 else np.int64(-2147483648) - np.int64(bits[k])
            keys[size] = (-ascending << 32) | np.int64(k)
            size += 1
    chosen = keys[:size] if n == size else np.partition(keys[:size], n - 1)[:n]
    chosen.sort()
    for k in range(n):
        place = chosen[k] & np.int64(0xFFFFFFFF)
        item_indices[k] = indices[place]
        out_impacts[k] = impacts[place]
        out_influences[k] = influences[place]


@kernel()
def explain_rows(  # type: ignore[no-untyped-def]
    indptr,
    indices,
    c,
    f,
    z,
    h,
    gram,
    constant,
    penalties,
    held,
    starts,
    explained,
    own,
    out_indptr,
    out_indices,
    out_influences,
    out_impacts,
    baselines,
    own_impacts,
):
    """Write the reasons for each explained item.

    Parameters
    ----------
    indptr, indices, c, z, h, gram, constant, penalties
        See `factorbox.recommend.row_kernels.solve_histories`.
    f
        float64, (entries,): f_k of each item in a history.
    held
        bool, (requests, m): the unknowns that are held at 0; (requests, 0) where none is.
    starts, explained, own
        See `find_own`.
    out_indptr, out_indices, out_influences, out_impacts
        The reasons of explained item r go to `out_indptr[r]:out_indptr[r + 1]`: as many as fit there.
    baselines
        float32, (explained,): holds the item's offset, to which x_iᵀ A⁻¹ g is added; NaN asks for nothing.
    own_impacts
        float32, (explained,): holds NaN.

    Returns
    -------
    int
        The first request whose system could not be factored, −1 if there is none.
    """
    m = len(gram)
    d = h.shape[1]
    A = np.empty((m, m))
    b = np.empty(m)
    y = np.empty(m)
    block = np.empty((BLOCK_ITEMS, m))
    longest = 0
    for request in range(len(penalties)):
        longest = max(longest, indptr[request + 1] - indptr[request])
    all_influences = np.empty(longest, dtype=np.float32)
    all_impacts = np.empty(longest, dtype=np.float32)
    keys = np.empty(longest, dtype=np.int64)
    for request in range(len(penalties)):
        factored = False
        first = indptr[request]
        history = slice(first, indptr[request + 1])
        influences = all_influences[: indptr[request + 1] - first]
        impacts = all_impacts[: indptr[request + 1] - first]
        for row in range(starts[request], starts[request + 1]):
            if np.isnan(baselines[row]):
                continue
            if not factored:
                if not form_and_factor(
                    indices[history],
                    c[history],
                    z[history],
                    h,
                    gram,
                    constant,
                    penalties[request],
                    held[request],
                    block,
                    A,
                    b,
                ):
                    return request
                factored = True
            # y = A⁻¹ x_i, so that x_iᵀ A⁻¹ v is a dot product for any v.
            y[d:] = 1.0
            item = h[explained[row]]
            for i in range(d):
                y[i] = item[i]
            for i in range(held.shape[1]):
                if held[request, i]:
                    y[i] = 0.0
            solve(A, y)
            baselines[row] = np.float64(baselines[row]) + dot(y, constant)
            n = out_indptr[row + 1] - out_indptr[row]
            for k in range(len(impacts)):
                share = product(y, h[indices[first + k]])
                # + 0 turns −0 into +0, which must tie.
                influences[k] = np.float32(share * f[first + k]) + np.float32(0)
                impacts[k] = np.float32(share * z[first + k]) + np.float32(0)
            if own[row] >= 0:
                own_impacts[row] = impacts[own[row]]
            reasons = slice(out_indptr[row], out_indptr[row + 1])
            _largest(
                impacts,
                influences,
                own[row],
                keys,
                n,
                out_indices[reasons],
                indices[history],
                out_impacts[reasons],
                out_influences[reasons],
            )
    return -1
