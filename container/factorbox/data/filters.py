"""Filters over what was read: pairs of items, or users, that have too little to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox.data.columns import ReadOptions
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.errors import UserError
from factorbox.options import check_ranges, option

_NAMES = ("min_rating", "min_item_interactions", "min_user_interactions", "min_item_mean_rating")


@dataclass(frozen=True, kw_only=True)
class FilterOptions:
    """Which pairs training keeps, beside `min_rating`, which `ReadOptions` holds.

    Raises
    ------
    UserError
        For a value out of range.
    """

    min_item_interactions: int | None = option(
        None, "Keeps pairs of items that at least so many users have.", minimum=1
    )
    min_user_interactions: int | None = option(None, "Keeps pairs of users who have at least so many items.", minimum=1)
    min_item_mean_rating: float | None = option(
        None, "Keeps pairs of items whose mean rating (weight) is at least this value."
    )
    filters: str = option(
        "all",
        "`all` keeps what passes every filter, min_rating too; `any` keeps what passes at least one.",
        choices=("all", "any"),
    )

    def __post_init__(self) -> None:
        check_ranges(self)

    def for_reading(self, options: ReadOptions) -> ReadOptions:
        """Return the options to read with: without `min_rating` where another filter may keep what is below it.

        Raises
        ------
        UserError
            Where `filters=any` has no filter to choose from.
        """
        if self.filters == "any" and not self._given(options.min_rating):
            raise UserError(f"filters=any, and no filter is set: set some of {', '.join(_NAMES)}, or leave filters out")
        return replace(options, min_rating=None) if self._is_any(options.min_rating) else options

    def conditions(self, min_rating: float | None) -> dict[str, float]:
        """Return the value of each filter that is left to apply to pairs that were read with `for_reading`."""
        given = self._given(min_rating)
        if not self._is_any(min_rating):
            # Reading has dropped these rows.
            given.pop("min_rating", None)
        return given

    def _given(self, min_rating: float | None) -> dict[str, float]:
        values = (min_rating, self.min_item_interactions, self.min_user_interactions, self.min_item_mean_rating)
        return {name: value for name, value in zip(_NAMES, values, strict=True) if value is not None}

    def _is_any(self, min_rating: float | None) -> bool:
        """Whether pairs may fail a filter: of one filter alone, `any` and `all` keep the same."""
        return self.filters == "any" and len(self._given(min_rating)) > 1


@dataclass(frozen=True)
class Kept:
    """What a filter, or all of them together, keeps.

    Attributes
    ----------
    condition
        The filter with its value, as in `min_item_interactions=21`.
    pairs, users, items
        How many pairs are kept, and how many users and items have one of them.
    """

    condition: str
    pairs: int
    users: int
    items: int


@dataclass(frozen=True)
class FilterSummary:
    """What was filtered, for the log.

    Attributes
    ----------
    each
        For each filter what it keeps alone.
    total
        What all of them keep together.
    """

    each: tuple[Kept, ...]
    total: Kept


def apply_filters(
    interactions: Interactions, *, options: FilterOptions, min_rating: float | None, has_weights: bool
) -> tuple[Interactions, FilterSummary | None]:
    """Drop the pairs that the filters do not keep, and then the users and items without pairs.

    Every filter looks at all pairs once: dropping by one does not change what another counts. A mean rating is that of
    the pairs of an item, in float64; it and `min_rating` are compared as float32, as weights are kept.

    Parameters
    ----------
    interactions
        What was read with `FilterOptions.for_reading`.
    min_rating
        The one of `ReadOptions`; with `filters=any` it is one more filter, of the weights of pairs.
    has_weights
        Whether the data have a column of weights.

    Returns
    -------
    Interactions, FilterSummary or None
        The interactions themselves and None where there is no filter to apply.

    Raises
    ------
    UserError
        Where a filter looks at weights and there are none, or no pair is left.
    """
    conditions = options.conditions(min_rating)
    if not conditions:
        return interactions, None
    _check_weights(conditions, has_weights=has_weights)
    combine = np.logical_or if options.filters == "any" else np.logical_and
    kept = np.full(interactions.n_pairs, options.filters == "all")
    each: list[Kept] = []
    for name, passing in _passing(interactions, conditions):
        each.append(_count(interactions, passing, condition=f"{name}={conditions[name]:.10g}"))
        combine(kept, passing, out=kept)
    total = _count(interactions, kept, condition=f"filters={options.filters}")
    if not total.pairs:
        raise UserError(_nothing_left(each, n_pairs=interactions.n_pairs, combined=total.condition))
    return _selected(interactions, kept), FilterSummary(each=tuple(each), total=total)


def _check_weights(conditions: Mapping[str, float], *, has_weights: bool) -> None:
    """Refuse a filter of weights where there are none."""
    name = next((name for name in ("min_rating", "min_item_mean_rating") if name in conditions), None)
    if name is not None and not has_weights:
        raise UserError(
            f"{name}={conditions[name]:.10g} needs a weight column, and the data have none: name one with the "
            f"hyperparameter weight_column, or leave {name} out"
        )


def _passing(interactions: Interactions, conditions: Mapping[str, float]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield for each filter which pairs pass it.  # (pairs,)."""
    users_of_item = np.bincount(interactions.item_indices, minlength=interactions.n_items)
    for name, value in conditions.items():
        if name == "min_rating":
            yield name, interactions.weights >= _float32(value)
        elif name == "min_user_interactions":
            items_of_user = interactions.by_user().counts
            yield name, np.repeat(items_of_user >= value, items_of_user)
        elif name == "min_item_interactions":
            yield name, (users_of_item >= value)[interactions.item_indices]
        else:
            sums = np.bincount(interactions.item_indices, weights=interactions.weights, minlength=interactions.n_items)
            means = (sums / np.maximum(users_of_item, 1)).astype(np.float32)
            yield name, (means >= _float32(value))[interactions.item_indices]


def _float32(value: float) -> np.float32:
    """Round a limit as weights are rounded, so that it lets through the weight that is written as it is."""
    with np.errstate(over="ignore"):
        return np.float32(value)


def _count(interactions: Interactions, kept: NDArray[np.bool_], *, condition: str) -> Kept:
    has_pair = np.zeros(interactions.n_items, dtype=np.bool_)
    has_pair[interactions.item_indices[kept]] = True
    return Kept(
        condition=condition,
        pairs=int(np.count_nonzero(kept)),
        users=int(np.count_nonzero(interactions.count_by_user(kept))),
        items=int(np.count_nonzero(has_pair)),
    )


def _selected(interactions: Interactions, kept: NDArray[np.bool_]) -> Interactions:
    """Return some of the pairs, and the users and items that have one of them."""
    pairs = interactions.only(kept)
    has_pair = np.zeros(interactions.n_items, dtype=np.bool_)
    has_pair[pairs.item_indices] = True
    new_index = np.cumsum(has_pair, dtype=np.int32) - np.int32(1)
    counts = pairs.by_user().counts
    return replace(
        pairs,
        user_ids=_chosen(pairs.user_ids, counts > 0),
        item_ids=_chosen(pairs.item_ids, has_pair),
        indptr=np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64),
        item_indices=new_index[pairs.item_indices],
    )


def _chosen(ids: Ids, chosen: NDArray[np.bool_]) -> Ids:
    return Ids(ids.texts.filter(pa.array(chosen)))


def _nothing_left(each: list[Kept], *, n_pairs: int, combined: str) -> str:
    """Write the error for filters that keep nothing."""
    alone = ", ".join(f"{kept.condition} ({kept.pairs:,} alone)" for kept in each)
    remedy = ", or filters=any" if len(each) > 1 and combined == "filters=all" else ""
    return f"no pair of {n_pairs:,} is left by the filters {alone} with {combined}: give smaller values{remedy}"
