"""Fold-in: the row of a user who was not in training, from a history, by the algorithm's own problem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import AlgorithmError
from factorbox.models.network import NetworkProblem
from factorbox.models.row_system import FoldInProblem, RowSystem
from factorbox.recommend.network_fold_in import fold_in_network, network_products
from factorbox.recommend.non_negative import fold_in_non_negative
from factorbox.recommend.reweighted import reweighted
from factorbox.recommend.row_kernels import solve_histories

_USUAL_STEPS = 10
"""Systems that a row is usually the solution of where one does not do: Newton steps, changes of the active set."""


class Products(NamedTuple):
    """About how many multiplications it takes to fold a history in.

    Attributes
    ----------
    each
        For each item of the history.
    beside
        For whatever history.
    """

    each: int
    beside: int


def products_of(problem: FoldInProblem) -> Products:
    """Return what folding a history in takes by this problem."""
    if isinstance(problem, NetworkProblem):
        return Products(*network_products(problem))
    m = len(problem.gram)
    factoring = m**3 // 3
    if problem.non_negative:
        # Each item enters the one system, which is solved again for other components.
        return Products(each=m**2, beside=_USUAL_STEPS * factoring)
    steps = 1 if problem.loss == "squared" else _USUAL_STEPS
    return Products(each=steps * m**2, beside=steps * factoring)


def fold_in(problem: FoldInProblem, histories: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Solve the problem of each history for the user's factors and bias.

    Each history is solved by itself in a fixed order, so that the others in the call do not change a byte. Where a
    system is singular (neither regularization nor unobserved_weight, and fewer items than unknowns), or weights are
    so large that the rest is lost beside them, 1e-8 times the largest diagonal element is added to the diagonal: the
    solution is then nearly the shortest that fits the history.

    Parameters
    ----------
    problem
        The algorithm's problem: least squares, by one factorization; the logistic or the Poisson loss, by Newton's
        method; least squares without negative numbers; or a network.
    histories
        Distinct items, ascending, with weights that suit the algorithm: above 0 for implicit feedback, otherwise
        ratings. A history without items gives A v = g, which is the zero vector for als; callers who want the mean
        user answer it by themselves.

    Returns
    -------
    factors, biases
        float32, (requests, d) and (requests,); the biases are 0 where users have none.

    Raises
    ------
    AlgorithmError
        Where numbers are not finite, or the system's constant part is not positive semidefinite.
    """
    if isinstance(problem, NetworkProblem):
        return fold_in_network(problem, histories)
    if problem.non_negative:
        return fold_in_non_negative(problem, histories)
    if problem.loss != "squared":
        solution = reweighted(problem, histories)
        check_solved(solution.failed)
        return solution.factors, solution.biases
    return _least_squares(problem, histories)


def check_solved(failed: int) -> None:
    """Raise where a kernel names a history whose system it could not factor.

    Raises
    ------
    AlgorithmError
        Names the history, counted from 1.
    """
    if failed >= 0:
        raise AlgorithmError(
            f"the system of history {failed + 1} is not positive definite: its weights or the model's factors are not"
            " finite, or too large; train with more regularization, or unobserved_weight above 0"
        )


def _least_squares(system: RowSystem, histories: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    requests, d = len(histories.counts), system.item_factors.shape[1]
    factors = np.empty((requests, d), dtype=np.float32)
    biases = np.empty(requests, dtype=np.float32)
    terms = system.terms(histories)
    failed = solve_histories(
        histories.indptr,
        histories.indices,
        terms.c,
        terms.f * terms.p,
        system.item_factors,
        system.gram,
        system.constant,
        system.penalties(histories.counts),
        factors,
        biases,
    )
    check_solved(failed)
    return factors, biases
