"""The inner loop of ALS on the processor: one row's linear system by preconditioned conjugate gradients.

For a row with history S, confidences c and the other side's factors h_k the normal equations are

    A w = b,   A = α0 HᵀH + Σ_{k∈S} c_k h_k h_kᵀ + ρ I,   b = Σ_{k∈S} c_k h_k

(Hu, Koren, Volinsky 2008, equation 4, with Rendle et al. 2022's unobserved weight α0 and row penalty ρ). A is
never formed: a product with it costs one pass over the gathered history. The basis is chosen by the caller so that
HᵀH is diagonal, which makes its product free and the diagonal of A a good preconditioner.

No loop both writes an array and adds up a sum. The compiler would vectorize such a loop for the case that its arrays
lie far enough apart in memory, test that at run time, and add in another order where the test fails: the last bits of a
model would depend on where its memory happened to be.
"""

from __future__ import annotations

import numpy as np

from factorbox.kernels import kernel


@kernel(reassociate=True)
def solve_rows(  # type: ignore[no-untyped-def]
    start,
    stop,
    indptr,
    indices,
    weights,
    alpha,
    fixed,
    target,
    gram,
    penalties,
    max_steps,
    tolerance,
    history,
    vectors,
    losses,
):
    """Improve rows `start:stop` of `target` in place, starting from what stands there.

    Parameters
    ----------
    start, stop
        The range of rows.
    indptr, indices, weights
        The interactions of the rows, and the weight of each; confidence is `alpha * weight`.
    fixed, target
        float32, (columns, d) and (rows, d).
    gram
        α0 HᵀH, (d, d), or (1, d) with its diagonal alone where the basis makes it diagonal.
    penalties
        ρ of each row, (rows,).
    max_steps, tolerance
        A row ends after that many steps, or once its residual is at most `tolerance` times |b|.
    history, vectors
        Scratch, (longest history, d) and (7, d); their type, float32 or float64, is the precision of the solve.
    losses
        float64, (rows,): receives Σ_{k∈S} c_k (1 − w·h_k)² + α0 |H w|² of the new row.
    """
    d = fixed.shape[1]
    full_gram = gram.shape[0] > 1
    w, b, r, z, p, Ap, diagonal = (
        vectors[0],
        vectors[1],
        vectors[2],
        vectors[3],
        vectors[4],
        vectors[5],
        vectors[6],
    )
    zero = vectors.dtype.type(0.0)
    one = vectors.dtype.type(1.0)
    for row in range(start, stop):
        first = indptr[row]
        count = indptr[row + 1] - first
        if count == 0:
            # b = 0, so the minimum is w = 0.
            for f in range(d):
                target[row, f] = 0.0
            losses[row] = 0.0
            continue
        penalty = vectors.dtype.type(penalties[row])
        for f in range(d):
            w[f] = target[row, f]
            b[f] = zero
        # r = b − A w, with the gather that every later pass reads.
        for f in range(d):
            own = gram[f, f] if full_gram else gram[0, f]
            diagonal[f] = own + penalty
            r[f] = -penalty * w[f]
        if full_gram:
            for g in range(d):
                for f in range(d):
                    r[f] -= gram[g, f] * w[g]
        else:
            for f in range(d):
                r[f] -= gram[0, f] * w[f]
        total_confidence = 0.0
        for k in range(count):
            source = fixed[indices[first + k]]
            h = history[k]
            c = vectors.dtype.type(alpha * weights[first + k])
            total_confidence += c
            for f in range(d):
                h[f] = source[f]
            score = zero
            for f in range(d):
                score += h[f] * w[f]
            scaled = c * (one - score)
            for f in range(d):
                b[f] += c * h[f]
            for f in range(d):
                r[f] += scaled * h[f]
            for f in range(d):
                diagonal[f] += c * h[f] * h[f]
        rz = zero
        bb = zero
        rr = zero
        for f in range(d):
            z[f] = r[f] / diagonal[f]
        for f in range(d):
            p[f] = z[f]
        for f in range(d):
            rz += r[f] * z[f]
            bb += b[f] * b[f]
            rr += r[f] * r[f]
        limit = vectors.dtype.type(tolerance * tolerance) * bb
        step = 0
        while step < max_steps and rr > limit:
            step += 1
            for f in range(d):
                Ap[f] = penalty * p[f]
            if full_gram:
                for g in range(d):
                    for f in range(d):
                        Ap[f] += gram[g, f] * p[g]
            else:
                for f in range(d):
                    Ap[f] += gram[0, f] * p[f]
            for k in range(count):
                h = history[k]
                score = zero
                for f in range(d):
                    score += h[f] * p[f]
                scaled = vectors.dtype.type(alpha * weights[first + k]) * score
                for f in range(d):
                    Ap[f] += scaled * h[f]
            pAp = zero
            for f in range(d):
                pAp += p[f] * Ap[f]
            if not pAp > zero:
                break
            a = rz / pAp
            new_rz = zero
            rr = zero
            for f in range(d):
                w[f] += a * p[f]
            for f in range(d):
                r[f] -= a * Ap[f]
            for f in range(d):
                z[f] = r[f] / diagonal[f]
            for f in range(d):
                new_rz += r[f] * z[f]
                rr += r[f] * r[f]
            beta = new_rz / rz
            rz = new_rz
            for f in range(d):
                p[f] = z[f] + beta * p[f]
        # wᵀAw − 2 bᵀw + Σc = Σc − w·(b + r): the row's part of the objective, its penalty taken off again.
        explained = 0.0
        squares = 0.0
        for f in range(d):
            target[row, f] = w[f]
        for f in range(d):
            explained += w[f] * (b[f] + r[f])
            squares += w[f] * w[f]
        losses[row] = total_confidence - explained - penalty * squares


def scratch(longest_history: int, dimension: int, dtype: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    """Allocate the working memory that one thread needs for `solve_rows`."""
    return np.empty((max(longest_history, 1), dimension), dtype), np.empty((7, dimension), dtype)
