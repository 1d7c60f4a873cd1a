"""Explanations: what each item of a history adds to the score of an item (Hu, Koren, Volinsky 2008, section 5).

The row v of a folded-in user solves A v = g + Σ_{k∈S} f_k p_k x_k (`factorbox.models.row_system.RowSystem`), so what an
item is ranked by is a sum over the history:

    x̂_i = x_i·v + offset_i = baseline_i + Σ_{k∈S} impact_ik,    baseline_i = offset_i + x_iᵀ A⁻¹ g,
    impact_ik = influence_ik p_k,    influence_ik = x_iᵀ A⁻¹ x_k f_k

The influence of history item k is its impact per unit of the value p_k that the model fits (Rastegarpanah, Crovella,
Gummadi 2017). Both have signs.

* Implicit models fit the value 1 whatever the count, which only sets the confidence c_k: influence and impact are
  equal. The least-squares target t_k that stands in for a sampled loss is part of the influence.
* Of ratings, the value is what the means and biases leave of the rating: p_k = r_k − μ − b_u − b_k. The bias b_u is
  held at its solution and counts to the baseline μ + b_u + b_i; A is that of the factors alone. Since v makes the
  gradient by the factors zero, the sum is the same score.
* The logistic and the Poisson loss are explained by the least-squares system that their solution solves, with its
  working weights f_k = c_k and working values p_k. The sum is x̂_i, which the link turns into the score: log-odds, or
  the logarithm of a count.
* Where v ≥ 0 is demanded, the components at 0 stay there: A is that of the others, and the sum is exact.

Only m × m systems are solved, one factorization a request: A⁻¹ x_i for each explained item, then a dot product with
each item of the history.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.models.row_system import RowSystem
from factorbox.recommend.answers import Explanations
from factorbox.recommend.explanation_kernels import explain_rows, find_own
from factorbox.recommend.fold_in import check_solved
from factorbox.recommend.lists import ranges, starts_of, taken
from factorbox.recommend.reweighted import reweighted
from factorbox.recommend.subjects import Subjects
from factorbox.recommend.top_n import Ranking


@dataclass(frozen=True, eq=False)
class _LeastSquares:
    """The systems that the factors of some users solve.

    Attributes
    ----------
    c, f, z
        float64, (entries,): c_k, f_k and f_k p_k of each item in a history.
    gram, constant
        G and g, of as many unknowns as are solved for.
    held
        bool, (requests, unknowns): those that are held at 0; (requests, 0) where none is.
    biases
        float32, (requests,): what is no unknown, but part of every x̂.
    """

    c: NDArray[np.float64]
    f: NDArray[np.float64]
    z: NDArray[np.float64]
    gram: NDArray[np.float64]
    constant: NDArray[np.float64]
    held: NDArray[np.bool_]
    biases: NDArray[np.float32]


def explain(system: RowSystem, *, subjects: Subjects, ranking: Ranking, counts: NDArray[np.int64]) -> Explanations:
    """Return the history items with the largest impact on each item of a ranking.

    Parameters
    ----------
    system
        The algorithm's problem. Where it fits ratings and users have a bias, G and g are 0 in the place of the bias.
    subjects
        The user of each request; one without a history has no reasons.
    ranking
        The items to explain. A negative index is an unknown item: baseline NaN, no reasons.
    counts
        int64, (requests,): the most reasons for each item of a request; 0 for no explanation at all.

    Returns
    -------
    Explanations
        An explained item that stands in the history is not among its own reasons. Other requests in the call do not
        change a byte.

    Raises
    ------
    AlgorithmError
        See `factorbox.recommend.fold_in.fold_in`.
    """
    histories, explained = subjects.histories, ranking.item_indices
    rows = np.diff(ranking.indptr)
    wanted = np.repeat(counts, rows)
    wanted[explained < 0] = 0
    own = np.empty(len(explained), dtype=np.int64)
    find_own(histories.indptr, histories.indices, ranking.indptr, explained, own)
    indptr = starts_of(np.minimum(wanted, np.repeat(histories.counts, rows) - (own >= 0)).clip(min=0))
    item_indices = np.empty(indptr[-1], dtype=np.int32)
    influences = np.empty(indptr[-1], dtype=np.float32)
    impacts = np.empty(indptr[-1], dtype=np.float32)
    solved = _solved(system, subjects, asked=np.flatnonzero(counts))
    offsets = system.offsets[explained] + np.repeat(solved.biases, rows)
    baselines = np.where(wanted > 0, offsets, np.float32(np.nan))
    own_impacts = np.full(len(explained), np.nan, dtype=np.float32)
    failed = explain_rows(
        histories.indptr,
        histories.indices,
        solved.c,
        solved.f,
        solved.z,
        system.item_factors,
        solved.gram,
        solved.constant,
        system.penalties(histories.counts),
        solved.held,
        ranking.indptr,
        explained,
        own,
        indptr,
        item_indices,
        influences,
        impacts,
        baselines,
        own_impacts,
    )
    check_solved(failed)
    return Explanations(
        indptr=indptr,
        item_indices=item_indices,
        influences=influences,
        impacts=impacts,
        baselines=baselines,
        own_impacts=own_impacts,
    )


def _solved(system: RowSystem, subjects: Subjects, *, asked: NDArray[np.int64]) -> _LeastSquares:
    """Return the systems of the users; those who are not among `asked` may have none."""
    histories = subjects.histories
    requests, d = len(histories.counts), system.item_factors.shape[1]
    free = np.zeros((requests, 0), dtype=np.bool_)
    if not system.ratings:
        terms, biases = system.terms(histories), np.zeros(requests, dtype=np.float32)
        return _LeastSquares(terms.c, terms.f, terms.f * terms.p, system.gram, system.constant, free, biases)
    gram, constant = np.ascontiguousarray(system.gram[:d, :d]), system.constant[:d]
    if system.loss != "squared":
        return _reweighted(system, histories, asked=asked, gram=gram, constant=constant, held=free)
    terms, biases = system.terms(histories), subjects.biases
    z = terms.f * (terms.p - np.repeat(biases, histories.counts))
    held = subjects.factors <= 0 if system.non_negative else free
    return _LeastSquares(terms.c, terms.f, z, gram, constant, held, biases)


def _reweighted(
    system: RowSystem,
    histories: Rows,
    *,
    asked: NDArray[np.int64],
    gram: NDArray[np.float64],
    constant: NDArray[np.float64],
    held: NDArray[np.bool_],
) -> _LeastSquares:
    """Return the systems at the solutions of the histories that are asked for."""
    solution = reweighted(system, taken(histories, asked))
    check_solved(solution.failed if solution.failed < 0 else int(asked[solution.failed]))
    at = ranges(histories.indptr[asked], histories.counts[asked])
    c, z = np.zeros(len(histories.indices)), np.zeros(len(histories.indices))
    c[at], z[at] = solution.c, solution.z
    biases = np.zeros(len(histories.counts), dtype=np.float32)
    biases[asked] = solution.biases
    return _LeastSquares(c, c, z, gram, constant, held, biases)
