"""Negatives are never seen items, and every unseen item is equally likely."""

from __future__ import annotations

import numpy as np
import torch

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models.sampled_negatives import UnseenItems

CPU = torch.device("cpu")


def histories(rows: list[list[int]], n_items: int) -> Interactions:
    return Interactions(
        user_ids=Ids.from_texts([f"u{user:03d}" for user in range(len(rows))]),
        item_ids=Ids.from_texts([f"i{item:03d}" for item in range(n_items)]),
        indptr=np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        item_indices=np.array([item for row in rows for item in sorted(row)], dtype=np.int32),
        weights=np.ones(sum(map(len, rows)), dtype=np.float32),
    )


def test_negatives_are_unseen_for_any_history() -> None:
    random = np.random.default_rng(5)
    n_items = 37
    rows = [random.choice(n_items, int(random.integers(0, n_items)), replace=False).tolist() for _ in range(200)]
    unseen = UnseenItems(histories(rows, n_items), device=CPU)
    assert unseen.counts.tolist() == [n_items - len(row) for row in rows]

    users = torch.arange(200).repeat(50)
    drawn = unseen.draw(users, generator=torch.Generator().manual_seed(0))
    assert drawn.min() >= 0
    assert drawn.max() < n_items
    seen = [set(row) for row in rows]
    assert not any(item in seen[user] for user, item in zip(users.tolist(), drawn.tolist(), strict=True))


def test_negatives_are_uniform_over_the_unseen_items() -> None:
    n_items, draws = 12, 60_000
    rows = [[0, 1, 5, 11], [], [2, 3, 4], list(range(11)), list(range(1, 12))]
    unseen = UnseenItems(histories(rows, n_items), device=CPU)
    generator = torch.Generator().manual_seed(1)
    for user, row in enumerate(rows):
        drawn = unseen.draw(torch.full((draws,), user), generator=generator)
        counts = np.bincount(drawn.numpy(), minlength=n_items)
        wanted = np.array([item for item in range(n_items) if item not in row])
        assert counts[wanted].sum() == draws
        expected = draws / len(wanted)
        chi_square = float(((counts[wanted] - expected) ** 2 / expected).sum())
        freedom = len(wanted) - 1
        # Mean `freedom`, variance 2 · `freedom`: five standard deviations.
        assert chi_square <= freedom + 5 * np.sqrt(2 * freedom)


def test_several_negatives_belong_to_the_user_of_their_row() -> None:
    # User 0 has left items 3 and 4 alone, user 1 items 0 and 1.
    unseen = UnseenItems(histories([[0, 1, 2], [2, 3, 4]], 5), device=CPU)
    users = torch.tensor([0, 1])[:, None].expand(-1, 100)
    drawn = unseen.draw(users, generator=torch.Generator().manual_seed(2))
    assert set(drawn[0].tolist()) == {3, 4}
    assert set(drawn[1].tolist()) == {0, 1}
