"""Which interactions a model is trained on, and which are held out to measure it by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from factorbox.data.interactions import Interactions
from factorbox.errors import UserError
from factorbox.kernels import kernel

Method = Literal["random", "stratified", "chronological", "last"]
"""How pairs are chosen that are held out; see `hold_out`."""

FEWEST_OF_STRATIFIED = 5
"""Pairs that a user has at least of whom a share is held out."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs that a model is measured by, sorted by user index and then by item index.

    Attributes
    ----------
    user_indices
        int64, (pairs,).
    item_indices
        int32, (pairs,).
    weights
        float32, (pairs,): weights or ratings, as in `Interactions`.
    """

    user_indices: NDArray[np.int64]
    item_indices: NDArray[np.int32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.user_indices)


@dataclass(frozen=True, eq=False)
class Split:
    """Interactions in two parts.

    Attributes
    ----------
    training
        What a model is trained on, with the ids, and so the indices, of the whole.
    held_out
        All pairs that are not in `training`.
    users
        int64, (measured users,), ascending: those to measure the model by. Each has pairs in both parts.
    tied_users
        How many of `users` have several pairs at their latest moment, of which one was drawn; 0 but for `last`.
    """

    training: Interactions
    held_out: Pairs
    users: NDArray[np.int64]
    tied_users: int = 0


def as_method(name: str) -> Method:
    """Return the method of a name.

    Raises
    ------
    UserError
        Where there is none of this name.
    """
    methods: tuple[Method, ...] = get_args(Method)
    for method in methods:
        if name == method:
            return method
    raise UserError(
        f"validation={name!r} is no way to hold interactions out: give one of {', '.join(get_args(Method))}"
    )


def require_times(interactions: Interactions, *, method: Method) -> NDArray[np.int64]:
    """Return the times of the pairs.

    Raises
    ------
    UserError
        Where the data have none.
    """
    if interactions.times is None:
        raise UserError(
            f"validation={method} goes by the time of each interaction, and the data have no time column: name one "
            "with the hyperparameter timestamp_column, or set validation to stratified or random"
        )
    return interactions.times


def hold_out(
    interactions: Interactions, *, method: Method, fraction: float, most_users: int, random_state: int
) -> Split:
    """Part the interactions into those that a model is trained on and those that it is measured by.

    random
        `fraction` of the pairs of some users, drawn uniformly.
    stratified
        max(1, round(`fraction` · n)) pairs of each of some users, drawn uniformly; n ≥ 5 is the number of the user's.
    last
        The latest pair of each of some users, who have two or more; of several at that moment one, drawn uniformly.
    chronological
        The latest `fraction` of all pairs, whatever their users. Pairs of one moment stay together: the cut is the one
        between two moments, or behind the last, that comes nearest to `fraction`, and the later one of two as near.

    Those users are `most_users` drawn uniformly from all to whom it applies, or all of them; for `chronological` they
    are drawn from those with pairs on both sides of the cut, and decide `Split.users` alone. Each user keeps a pair in
    training, save for `chronological`; so does each item for `random` and `stratified`, where the pairs that can be
    spared may be fewer than what is to be drawn: then all of them are held out.

    Parameters
    ----------
    fraction
        Share of the pairs, within (0, 1); their number is rounded.
    most_users
        How many users are measured at most.
    random_state
        Seed: the same seed and interactions give the same split.

    Raises
    ------
    UserError
        Where `chronological` or `last` has no times to go by.
    """
    rng = np.random.default_rng(random_state)
    counts = interactions.by_user().counts
    tied_users = 0
    if method == "chronological":
        out = _after_the_cut(require_times(interactions, method=method), fraction=fraction)
        of_user = interactions.count_by_user(out)
        users = drawn_users(np.flatnonzero((of_user > 0) & (of_user < counts)), most=most_users, rng=rng)
    else:
        fewest = FEWEST_OF_STRATIFIED if method == "stratified" else 2
        users = drawn_users(np.flatnonzero(counts >= fewest), most=most_users, rng=rng)
        if method == "last":
            out, tied_users = _latest(interactions, users, rng=rng)
        else:
            out = _drawn(interactions, users, method=method, fraction=fraction, rng=rng)
        of_user = interactions.count_by_user(out)
        users = users[of_user[users] > 0]
    held_out = Pairs(
        user_indices=np.repeat(np.arange(interactions.n_users), of_user),
        item_indices=interactions.item_indices[out],
        weights=interactions.weights[out],
    )
    return Split(training=interactions.only(~out), held_out=held_out, users=users, tied_users=tied_users)


def split_memory(*, users: int, items: int, pairs: int, most_users: int | None = None, times: bool = False) -> int:
    """Estimate the bytes that a split needs beside the interactions themselves.

    Parameters
    ----------
    users, items, pairs
        How many there are.
    most_users
        As in `hold_out`; where it is not given, all users may lose pairs. Those drawn may have twice their share of
        the pairs.
    times
        Whether the pairs have times.
    """
    share = 1.0 if most_users is None else min(1.0, 2 * most_users / max(users, 1))
    # Of each pair of those drawn: position, owner, two orders that are being worked out, item. Of all: masks.
    while_drawing = (4 * 8 + 4) * share + 6
    # Item, weight and time of both parts, masks, and the user of what is held out: at most half.
    both_parts = 4 + 4 + 8 * times + 3 + 8 * share / 2
    return 48 * users + 16 * items + round(max(while_drawing, both_parts) * pairs)


def drawn_users(users: NDArray[np.int64], *, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return all users, or `most` of them, drawn uniformly.  # ascending."""
    return users if len(users) <= most else np.sort(rng.choice(users, most, replace=False))


def _are_of(users: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which pairs are of some users, given how many each user has.  # (pairs,)."""
    wanted = np.zeros(len(counts), dtype=np.bool_)
    wanted[users] = True
    of_pairs: NDArray[np.bool_] = np.repeat(wanted, counts)
    return of_pairs


def _drawn(
    interactions: Interactions, users: NDArray[np.int64], *, method: Method, fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Tell which pairs of some users are held out.  # (pairs,)."""
    counts = interactions.by_user().counts
    is_theirs = _are_of(users, counts)
    theirs = np.flatnonzero(is_theirs)
    counts = counts[users]
    owner = np.repeat(np.arange(len(users)), counts)  # (theirs,)
    stays = _kept_for_items(interactions, is_theirs, theirs, rng=rng)
    if method == "stratified":
        wanted = np.minimum(np.maximum(np.rint(fraction * counts), 1), counts - 1).astype(np.int64)
        chosen = _shares(owner, np.flatnonzero(~stays), wanted=wanted, rng=rng)
    else:
        _keep_for_users(owner, stays, n_owners=len(users), rng=rng)
        spare = np.flatnonzero(~stays)
        most = min(round(fraction * len(theirs)), len(spare))
        chosen = rng.choice(spare, most, replace=False, shuffle=False)
    out = np.zeros(interactions.n_pairs, dtype=np.bool_)
    out[theirs[chosen]] = True
    return out


def _after_the_cut(times: NDArray[np.int64], *, fraction: float) -> NDArray[np.bool_]:
    """Tell which pairs are later than the cut.  # (pairs,)."""
    n_pairs = len(times)
    wanted = round(fraction * n_pairs)
    if wanted == 0:
        return np.zeros(n_pairs, dtype=np.bool_)
    moment = np.partition(times, n_pairs - wanted)[n_pairs - wanted]
    with_it: NDArray[np.bool_] = times >= moment
    fewer, more = int(np.count_nonzero(times > moment)), int(np.count_nonzero(with_it))
    takes_it = more < n_pairs and more - wanted < wanted - fewer
    return with_it if takes_it else with_it & (times > moment)


def _latest(
    interactions: Interactions, users: NDArray[np.int64], *, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], int]:
    """Tell which pairs are the latest of some users, and how many of the users have several to draw from."""
    counts = interactions.by_user().counts
    theirs = np.flatnonzero(_are_of(users, counts))
    owner = np.repeat(np.arange(len(users)), counts[users])  # (theirs,)
    times = require_times(interactions, method="last")[theirs]
    latest = np.full(len(users), np.iinfo(np.int64).min)
    np.maximum.at(latest, owner, times)
    candidates = np.flatnonzero(times == latest[owner])
    tied = int(np.count_nonzero(np.bincount(owner[candidates], minlength=len(users)) > 1))
    # Were the last item always taken, the order of the ids would decide what a model is measured by.
    rng.shuffle(candidates)
    out = np.zeros(interactions.n_pairs, dtype=np.bool_)
    out[theirs[_one_each(candidates, owner, groups=len(users))]] = True
    return out, tied


def _kept_for_items(
    interactions: Interactions, is_theirs: NDArray[np.bool_], theirs: NDArray[np.int64], *, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Keep one pair, drawn uniformly, of each item that has no pair of other users.  # (theirs,)."""
    is_safe = np.zeros(interactions.n_items, dtype=np.bool_)
    is_safe[interactions.item_indices[~is_theirs]] = True
    items = interactions.item_indices[theirs]
    stays = np.zeros(len(theirs), dtype=np.bool_)
    kept = _one_each(rng.permutation(np.flatnonzero(~is_safe[items])), items, groups=interactions.n_items)
    stays[kept] = True
    return stays


def _keep_for_users(
    owner: NDArray[np.int64], stays: NDArray[np.bool_], *, n_owners: int, rng: np.random.Generator
) -> None:
    """Let one pair, drawn uniformly, of each owner stay who has none that stays."""
    is_safe = np.zeros(n_owners, dtype=np.bool_)
    is_safe[owner[stays]] = True
    stays[_one_each(rng.permutation(np.flatnonzero(~is_safe[owner])), owner, groups=n_owners)] = True


def _one_each(positions: NDArray[np.int64], group_of: NDArray[np.integer], *, groups: int) -> NDArray[np.int64]:
    """Return of each group that has one of some positions the last of them."""
    last = np.full(groups, -1, dtype=np.int64)
    # Where an index comes several times, the last value remains.
    last[group_of[positions]] = positions
    return last[last >= 0]


def _shares(
    owner: NDArray[np.int64], spare: NDArray[np.int64], *, wanted: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return so many of the spare positions of each owner, all of them where they are fewer; owners ascend.

    Each set of so many positions of an owner is as likely as any other.
    """
    available = np.bincount(owner[spare], minlength=len(wanted))
    drawn = np.empty(len(spare), dtype=np.bool_)
    _draw(available, wanted, rng.random(len(spare)), drawn)
    return spare[drawn]


@kernel()
def _draw(available, wanted, chances, drawn):  # type: ignore[no-untyped-def]
    """Draw `wanted` members of each group: Knuth, The Art of Computer Programming, volume 2, 3.4.2, algorithm S."""
    member = 0
    for group in range(len(available)):
        missing = min(wanted[group], available[group])
        for left in range(available[group], 0, -1):
            drawn[member] = chances[member] * left < missing
            missing -= drawn[member]
            member += 1
