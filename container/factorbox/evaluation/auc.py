"""The area under the ROC curve: the chance that a held-out item is ranked above another unseen one.

For one user, C is the set of items that may be recommended and are not in the user's training, P those of C that are
held out and N the rest of C. The share of N that the item i of P is above is

    a_i = Σ_{j ∈ N} ( [x̂_i > x̂_j] + ½ [x̂_i = x̂_j] ) / |N|,

and the user's AUC is Σ_{i ∈ P} a_i / |P|. It is within [0, 1]; ½ is chance. The AUC of a model is the mean over users;
one with P or N empty has none, and is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.evaluation.auc_kernels import shares_above as fill_shares
from factorbox.evaluation.ranking import Relevant
from factorbox.recommend.candidates import Candidates
from factorbox.recommend.lists import Lists
from factorbox.recommend.top_n import Rankable
from factorbox.threads import Run

_BLOCK_ROWS = 256
_BLOCK_SCORES = 2_000_000


def shares_above(
    candidates: Rankable,
    *,
    user_factors: NDArray[np.float32],
    seen: Lists,
    relevant: Relevant,
    available: NDArray[np.bool_] | None = None,
    run: Run,
) -> NDArray[np.float64]:
    """Return a_i of each held-out pair by a model.

    Scores are those of a block product over fixed blocks of users, so the result does not depend on the number of
    threads; scores that differ in their last bits alone may tie here and not in a ranking, or the other way round.

    Parameters
    ----------
    candidates
        The items, with their scores.
    user_factors
        float32, (rows, d). Users' biases change no order.
    seen
        The items of training of each row.
    relevant
        The held-out items of each row, none of which is seen.
    available
        bool, (items,): what may be recommended at all; None for all.
    run
        How to work off the blocks: `map`, or the `map` of `factorbox.threads.Threads`.

    Returns
    -------
    NDArray
        float64, (pairs,): in the order of `relevant`; NaN where i is not in C, or N is empty.
    """
    n_items = len(candidates)
    unavailable = np.zeros(0, dtype=np.int64) if available is None else np.flatnonzero(~available)
    rows = max(1, min(_BLOCK_ROWS, _BLOCK_SCORES // max(1, n_items)))
    shares = np.full(len(relevant.item_indices), np.nan)

    def fill_block(start: int) -> None:
        users = slice(start, min(start + rows, len(user_factors)))
        part = relevant.part(users)
        fill_shares(
            _scores(candidates, np.ascontiguousarray(user_factors[users])),
            unavailable,
            seen.indptr[users.start : users.stop + 1],
            seen.indices,
            part.indptr,
            part.item_indices,
            shares[relevant.indptr[users.start] : relevant.indptr[users.stop]],
        )

    for _ in run(fill_block, range(0, len(user_factors), rows)):
        pass
    return shares


def user_aucs(shares: NDArray[np.float64], *, relevant: Relevant) -> NDArray[np.float64]:
    """Return the AUC of each user, given a_i of each held-out pair; NaN for a user without one.  # (users,)."""
    has, n_users = np.isfinite(shares), len(relevant.counts)
    owners = relevant.owners[has]
    counts = np.bincount(owners, minlength=n_users)
    sums = np.bincount(owners, weights=shares[has], minlength=n_users)
    return np.asarray(np.divide(sums, counts, out=np.full(n_users, np.nan), where=counts > 0))


def _scores(candidates: Rankable, user_factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x̂ of each user with each item, but for what is the same for all of a user's items.  # (rows, items)."""
    if isinstance(candidates, Candidates):
        return candidates.block_scores(user_factors)
    n_users, n_items = len(user_factors), len(candidates)
    scores = candidates.pair_scores(
        user_factors,
        np.zeros(n_users, dtype=np.float32),
        rows=np.repeat(np.arange(n_users), n_items),
        item_indices=np.tile(np.arange(n_items, dtype=np.int32), n_users),
    )
    return scores.reshape(n_users, n_items)
