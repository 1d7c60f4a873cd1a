"""Negatives for the sampled losses: items that a user has not seen, uniformly and without a second try."""

from __future__ import annotations

import numpy as np
import torch

from factorbox.data.interactions import Interactions
from factorbox.errors import UserError

_DRAWS = 1 << 62
"""Draws are taken from [0, 2⁶²) modulo the number of unseen items: the bias is below items / 2⁶²."""


class UnseenItems:
    """Draws from the items outside each user's history.

    Let S_u be the sorted history of user u, and g_k = S_u[k] − k, the number of unseen items before its k-th
    item (from 0). g does not decrease, so the r-th unseen item (from 0) is r + k, where k counts the g that
    are ≤ r. The keys u · (items + 1) + g_k are sorted over all users: one bisection serves a whole batch.
    """

    def __init__(self, interactions: Interactions, *, device: torch.device) -> None:
        self._stride = interactions.n_items + 1
        lengths = np.diff(interactions.indptr)
        keys = np.repeat(
            np.arange(interactions.n_users, dtype=np.int64) * self._stride + interactions.indptr[:-1], lengths
        )
        keys -= np.arange(interactions.n_pairs, dtype=np.int64)  # with the start of the row added above: −k
        keys += interactions.item_indices
        self._keys = torch.from_numpy(keys).to(device)  # (pairs,)
        self._starts = torch.tensor(interactions.indptr[:-1], device=device)  # (users,)
        self.counts = torch.tensor(interactions.n_items - lengths, device=device)
        """Number of unseen items of each user.  # (users,)"""

    def usable(self, users: torch.Tensor) -> torch.Tensor:
        """Mark the pairs, (pairs,), given by their users, that something can be set against.

        Raises
        ------
        UserError
            Where there is none: every user has every item.
        """
        usable = self.counts.index_select(0, users) > 0
        require_negatives(bool(usable.any()))
        return usable

    def draw(self, users: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """Draw one unseen item for each entry of `users`, of any shape; each of these must have one left."""
        flat = users.flatten()
        draws = torch.randint(_DRAWS, flat.shape, generator=generator, device=users.device)
        rank = draws % self.counts.index_select(0, flat)  # r
        wanted = flat * self._stride + rank
        before = torch.searchsorted(self._keys, wanted, right=True) - self._starts.index_select(0, flat)  # k
        return (rank + before).view(users.shape)


def require_negatives(found: bool) -> None:
    """Raise `UserError` unless there is a pair that something can be set against."""
    if not found:
        raise UserError(
            "every user has interacted with every item, so there are no negatives to learn from: "
            "train with algorithm=als, or give data in which users have chosen"
        )
