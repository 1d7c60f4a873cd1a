"""The mean user, who answers for everybody that a model was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from factorbox.models.base import Factors


def user_tensors(factors: Factors, *, trained: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """Return the vectors and biases of the users, and the mean ones.

    Parameters
    ----------
    trained
        bool, (users,): who has interactions in training. The mean is theirs, or everybody's where nobody has any. It
        takes the place of what training has left for the others: zeros, or the random start.

    Returns
    -------
    dict[str, NDArray[np.float32]]
        `user_factors` (users, d), `user_biases` (users,), `mean_user_factors` (d,) and `mean_user_bias` (1,).
    """
    vectors, biases = factors.user_factors, factors.user_biases
    # A mask changes the order of additions, and so the last bit: there is none where everybody counts.
    of = trained if trained.any() and not trained.all() else np.ones(1, dtype=np.bool_)
    mean = vectors.mean(axis=0, dtype=np.float64, where=of[:, None]).astype(np.float32)
    mean_bias = biases.mean(keepdims=True, dtype=np.float64, where=of).astype(np.float32)
    if not trained.all():
        vectors, biases = np.where(trained[:, None], vectors, mean), np.where(trained, biases, mean_bias)
    return {"user_factors": vectors, "user_biases": biases, "mean_user_factors": mean, "mean_user_bias": mean_bias}
