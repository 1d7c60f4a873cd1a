"""What the benchmark of ALS compares: data, trainings that can be done an epoch at a time, and the bare gathers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.generated import SHAPES, pairs_of
from factorbox.data.rows import Rows
from factorbox.evaluation.ranking import Relevant, ranking_metrics
from factorbox.kernels import kernel
from factorbox.models import als_sweeps
from factorbox.models.als_sweeps import KernelSweeps, Side
from factorbox.models.row_system import frequency_penalties
from factorbox.models.vector_instructions import address_of, splat
from factorbox.models.vector_kernels import add_eight, eight_rows, prefetch_eight_rows
from factorbox.threads import Threads

OURS, IMPLICIT, IRSPACK = "factorbox", "implicit", "irspack"
_K = 10
_EXPONENT = 0.5
"""How the penalties of ours and irspack's grow with the frequency."""

_EVALUATED_USERS = 10_000
_GATHERED_AT_ONCE = 65_536

Setting = Mapping[str, float]


@dataclass(frozen=True)
class Data:
    """Pairs to train on, by user and by item, and pairs to measure on."""

    users: Rows
    items: Rows
    relevant: Relevant

    @classmethod
    def of(cls, shape: str, *, validation: bool) -> Data:
        """Make a shape's pairs and hold a tenth out; with `validation`, a tenth of what is left, for good."""
        pairs, size = pairs_of(SHAPES[shape]), SHAPES[shape]
        part = np.random.default_rng(1).integers(0, 100, len(pairs.users))
        held_out = (part >= 10) & (part < 19) if validation else part < 10
        kept = part >= (19 if validation else 10)
        order = np.lexsort((pairs.items[kept], pairs.users[kept]))
        users = Rows(
            indptr=np.concatenate([[0], np.cumsum(np.bincount(pairs.users[kept], minlength=size.users))]),
            indices=pairs.items[kept][order],
            weights=np.ones(len(order), dtype=np.float32),
        )
        relevant = Relevant.from_pairs(pairs.users[held_out], pairs.items[held_out], n_users=size.users)
        return cls(users, users.transposed(size.items), relevant)

    def ndcg(self, user_factors: NDArray[np.float32], item_factors: NDArray[np.float32], *, threads: Threads) -> float:
        """Rank all unseen items for some of the users and return the mean nDCG@10."""
        chosen = np.random.default_rng(2).permutation(np.flatnonzero(self.relevant.counts))[:_EVALUATED_USERS]
        items = torch.from_numpy(item_factors)

        def ranked(users: NDArray[np.int64]) -> NDArray[np.int64]:
            scores = torch.from_numpy(user_factors[users]) @ items.T
            for row, user in enumerate(users):
                scores[row, self.users.indices[self.users.indptr[user] : self.users.indptr[user + 1]]] = -torch.inf
            top: NDArray[np.int64] = scores.topk(_K).indices.numpy()
            return top

        top = threads.map(ranked, np.array_split(chosen, math.ceil(len(chosen) / 250)))
        return ranking_metrics(np.concatenate(top), user_indices=chosen, relevant=self.relevant, k=_K).ndcg


class Training(Protocol):
    """A training that can be done an epoch at a time."""

    def epoch(self) -> None:
        """Train one more."""

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return those of users and items as they are."""
        ...


class Ours:
    """Sweeps by the kernels of `als`."""

    def __init__(self, data: Data, setting: Setting, *, dimension: int, threads: int) -> None:
        n_users, n_items = len(data.users.indptr) - 1, len(data.items.indptr) - 1
        self._users = _side(data.users, n_items, setting, dimension=dimension)
        self._items = _side(data.items, n_users, setting, dimension=dimension)
        drawn = np.random.default_rng(0).standard_normal((n_items, dimension), dtype=np.float32)
        self._items.factors[:] = drawn * (0.1 / math.sqrt(dimension))
        self._sweeps = KernelSweeps(unobserved_weight=setting["unobserved_weight"], alpha=1.0, threads=threads)

    def epoch(self) -> None:
        """Sweep over the users and the items."""
        self._sweeps.update(self._users, fixed=self._items, exact=False, should_stop=_never)
        self._sweeps.update(self._items, fixed=self._users, exact=False, should_stop=_never)

    def epoch_of(self, steps: int) -> None:
        """Do an epoch with another number of steps a row than a training has, on copies."""
        users, items = self._copies()
        with patch.object(als_sweeps, "SWEEP_STEPS", steps):
            self._sweeps.update(users, fixed=items, exact=False, should_stop=_never)
            self._sweeps.update(items, fixed=users, exact=False, should_stop=_never)

    def bases(self, threads: Threads) -> None:
        """Do what an epoch does beside its rows: both Gram matrices, decomposed, and both sides rotated, twice."""
        for fixed in self._copies():
            gram = als_sweeps.gram_matrix(fixed.factors, torch.float32, threads=threads)
            rotation = torch.linalg.eigh(gram).eigenvectors.flip(1).float().contiguous()

            def rotated(block: NDArray[np.float32], rotation: torch.Tensor = rotation) -> None:
                torch.from_numpy(block) @ rotation

            for side in (self._users, self._items):
                threads.map(rotated, np.array_split(side.factors, max(1, len(side.factors) // 8192)))

    def finish(self) -> None:
        """Do the last half-sweep of a training, on copies: both sides would be rotated."""
        users, items = self._copies()
        self._sweeps.update(users, fixed=items, exact=True, should_stop=_never)

    def _copies(self) -> tuple[Side, Side]:
        users, items = (Side(side.rows, side.penalties, side.factors.copy()) for side in (self._users, self._items))
        return users, items

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return those of users and items as they are."""
        return self._users.factors, self._items.factors


class Implicit:
    """What `AlternatingLeastSquares.fit` of implicit does in an iteration, with its three steps."""

    def __init__(self, data: Data, setting: Setting, *, dimension: int, threads: int) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        self._threads, self._regularization = threads, setting["regularization"]
        self._solver = AlternatingLeastSquares(factors=dimension, num_threads=threads).solver
        self._of_users, self._of_items = (
            _matrix(rows, len(other.indptr) - 1, confidence=setting["alpha"])
            for rows, other in ((data.users, data.items), (data.items, data.users))
        )
        rng = np.random.default_rng(0)
        self._users, self._items = (
            rng.random((matrix.shape[0], dimension), dtype=np.float32) * np.float32(0.01)
            for matrix in (self._of_users, self._of_items)
        )

    def epoch(self) -> None:
        """Solve for the users and for the items."""
        for matrix, rows, fixed in (
            (self._of_users, self._users, self._items),
            (self._of_items, self._items, self._users),
        ):
            self._solver(matrix, rows, fixed, self._regularization, num_threads=self._threads)

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return those of users and items as they are."""
        return self._users, self._items


class Irspack:
    """Epochs of irspack's `IALSRecommender` by conjugate gradients, three steps, its default."""

    def __init__(self, data: Data, setting: Setting, *, dimension: int, threads: int) -> None:
        from irspack.recommenders import IALSRecommender

        self._recommender = IALSRecommender(
            _matrix(data.users, len(data.items.indptr) - 1, confidence=1.0),
            n_components=dimension,
            alpha0=setting["unobserved_weight"],
            reg=setting["regularization"],
            nu=_EXPONENT,
            n_threads=threads,
        )
        self._recommender.start_learning()

    def epoch(self) -> None:
        """Run one."""
        self._recommender.run_epoch()

    def factors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return those of users and items as they are."""
        trainer: Any = self._recommender.trainer
        return np.ascontiguousarray(trainer.core_trainer.user), np.ascontiguousarray(trainer.core_trainer.item)


class Gathers:
    """The reading that every epoch has to do at least once."""

    def __init__(self, data: Data, *, dimension: int, threads: Threads, ahead: bool) -> None:
        self._threads, self._dimension, self._ahead = threads, dimension, 3 if ahead else 0
        rng = np.random.default_rng(0)
        n_users, n_items = len(data.users.indptr) - 1, len(data.items.indptr) - 1
        self._sides = [
            (rows.indices, rng.standard_normal((n, dimension), dtype=np.float32))
            for rows, n in ((data.users, n_items), (data.items, n_users))
        ]

    def epoch(self) -> None:
        """Read a row for each pair, on both sides."""
        for indices, table in self._sides:

            def gather(start: int, indices: NDArray[np.int32] = indices, table: NDArray[np.float32] = table) -> None:
                total = np.zeros(self._dimension, dtype=np.float32)
                gather_rows(indices[start : start + _GATHERED_AT_ONCE], table, total, self._ahead)

            self._threads.map(gather, range(0, len(indices), _GATHERED_AT_ONCE))


@kernel()
def gather_rows(indices, table, total, ahead):  # type: ignore[no-untyped-def]
    """Add up rows of a table, eight at once, asking for those `ahead` times eight later; the last few are left out."""
    row_bytes = np.int64(4 * table.shape[1])
    first = address_of(indices)
    last = first + 4 * (np.int64(len(indices)) - 8)
    for at in range(first, last + 1, 32):
        if ahead > 0:
            prefetch_eight_rows(address_of(table), row_bytes, min(at + 32 * ahead, last))
        rows = eight_rows(address_of(table), row_bytes, at)
        add_eight(rows, splat(np.float32(1.0)), address_of(total), row_bytes)


def _side(rows: Rows, other_side: int, setting: Setting, *, dimension: int) -> Side:
    penalties = frequency_penalties(
        rows.counts,
        offset=setting["unobserved_weight"] * other_side,
        regularization=setting["regularization"],
        exponent=_EXPONENT,
    )
    return Side(rows, penalties, torch.zeros(len(penalties), dimension).numpy())


def _matrix(rows: Rows, columns: int, *, confidence: float) -> Any:
    from scipy.sparse import csr_matrix

    values = rows.weights * np.float32(confidence)
    return csr_matrix((values, rows.indices, rows.indptr), shape=(len(rows.indptr) - 1, columns))


def _never() -> bool:
    return False


TRAININGS: Mapping[str, Callable[..., Training]] = MappingProxyType({OURS: Ours, IMPLICIT: Implicit, IRSPACK: Irspack})
