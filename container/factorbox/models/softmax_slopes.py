"""What one part of a step of `softmax` works out: losses, and their derivatives by all scores.

With q_i = N_u / (exp x̂_ui + N_u) and N_u = Σ_{j∉S_u} exp x̂_uj / π_j, the loss of a pair is −log(1 − q_i), and the
derivatives of all losses of a user, each weighted by a_u = |S_u|^−½, are

    by x̂_ui, i ∈ S_u:  −a_u q_i;     by x̂_uj, j ∉ S_u:  a_u (exp x̂_uj / π_j / N_u) Σ_{i∈S_u} q_i.

They are the rows of the matrix G of `factorbox.models.softmax_training`.
"""

from __future__ import annotations

import torch
from torch.nn.functional import softplus


def slopes(
    x: torch.Tensor,
    *,
    rows: torch.Tensor,
    at: torch.Tensor,
    a: torch.Tensor,
    weights: torch.Tensor | None,
) -> torch.Tensor:
    """Turn x̂ of some users into their rows of G, in place, and return the loss of each of their pairs.

    Parameters
    ----------
    x
        x̂, (users, candidates).
    rows, at
        int64, (pairs,): the user of each pair, and its place in `x`, read row by row.
    a
        Weight of each user, (users,).
    weights
        1 / π, (candidates,), or None for 1.
    """
    flat = x.view(-1)
    x_pairs = flat.index_select(0, at)
    flat.index_fill_(0, at, -torch.inf)
    # The highest negative: exp x̂ of the others is then at most 1, and their sum at least 1.
    highest = x.amax(dim=1, keepdim=True).clamp_min_(torch.finfo(x.dtype).min)
    x.sub_(highest).exp_()
    if weights is not None:
        x.mul_(weights)
    N = x.sum(dim=1).clamp_min_(torch.finfo(x.dtype).tiny)
    odds = (N.log() + highest[:, 0]).index_select(0, rows) - x_pairs  # log (N_u / exp x̂_ui)
    of_pairs = a.index_select(0, rows).mul_(torch.sigmoid(odds))  # a_u q_i
    sums = torch.zeros_like(N).index_add_(0, rows, of_pairs)
    x.mul_((sums / N)[:, None])
    flat.index_copy_(0, at, -of_pairs)
    return softplus(odds)
