"""Made-up interactions of any size: few items are most of the data, and users differ in what they like.

A user likes a few of the shape's topics, a topic prefers some of the items, and an item's popularity follows a power
law: P(i | u) = Σ_t θ_ut φ_ti with φ_ti ∝ popularity_i exp(strength · a_ti), a_ti ~ N(0, 1) and θ_u sparse. Histories
are log-normally long. Drawing takes time in proportion to the rows, not to users × items.

`python -m benchmarks.generated SHAPE FILE` writes one as CSV.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions

Columns = Literal["plain", "quoted", "weight", "time"]
COLUMNS: tuple[Columns, ...] = get_args(Columns)

_USERS_AT_ONCE = 20_000
_ROWS_AT_ONCE = 1_000_000
_FIRST_SECOND = 1_600_000_000


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How large made-up data are and how they are spread.

    Attributes
    ----------
    users, items
        How many there are; a few of the rarest items may not occur.
    mean_history
        Mean number of distinct items of a user.
    spread
        Standard deviation of the logarithm of the length of a history.
    popularity
        Exponent of the power law: the item of rank r is drawn in proportion to (r + 10)^−popularity.
    topics, topics_of_user
        How many topics there are, and how many of them a user likes.
    strength
        How much the topics differ from the popularity.
    plays
        Whether an item that a user likes is played several times, in a heavy-tailed number that grows with the liking.
    """

    users: int
    items: int
    mean_history: float
    spread: float = 0.95
    popularity: float = 0.9
    topics: int = 60
    topics_of_user: int = 4
    strength: float = 2.0
    plays: bool = False


_LARGE = Shape(users=140_000, items=27_000, mean_history=143)
SHAPES = {
    "1m": replace(_LARGE, users=7_000),
    "5m": Shape(users=70_000, items=10_000, mean_history=71),
    "20m": _LARGE,
    "50m": replace(_LARGE, users=350_000),
    "check-ins": Shape(users=30_000, items=40_000, mean_history=25, topics=300, topics_of_user=3, strength=2.5),
    "few-users": Shape(users=2_000, items=50_000, mean_history=120, topics=120, topics_of_user=5, strength=2.5),
    "play-counts": Shape(users=20_000, items=10_000, mean_history=50, plays=True),
}


class Pairs(NamedTuple):
    """Distinct pairs, sorted by user, those of a user in the order of their drawing.

    Attributes
    ----------
    users, items
        int32, (pairs,): indices.
    counts
        int32, (pairs,): how often; 1 but for a shape with `plays`.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    counts: NDArray[np.int32]


def pairs_of(shape: Shape, *, random_state: int = 0) -> Pairs:
    """Draw the pairs of a shape; the same seed gives the same pairs."""
    rng = np.random.default_rng(random_state)
    weights = (np.arange(shape.items) + 10.0) ** -shape.popularity
    rng.shuffle(weights)
    liking = shape.strength * rng.standard_normal((shape.topics, shape.items), dtype=np.float32)
    chances = weights * np.exp(liking)
    cumulative = np.cumsum(chances / chances.sum(axis=1, keepdims=True), axis=1)  # (topics, items)
    cumulative[:, -1] = 1.0
    parts = [
        _of_users(
            shape,
            first=first,
            last=min(first + _USERS_AT_ONCE, shape.users),
            cumulative=cumulative,
            liking=liking,
            rng=rng,
        )
        for first in range(0, shape.users, _USERS_AT_ONCE)
    ]
    return Pairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _of_users(
    shape: Shape,
    *,
    first: int,
    last: int,
    cumulative: NDArray[np.float64],
    liking: NDArray[np.float32],
    rng: np.random.Generator,
) -> Pairs:
    n = last - first
    wished = rng.lognormal(np.log(shape.mean_history) - shape.spread**2 / 2, shape.spread, n)
    lengths = np.clip(wished, 2, shape.items / 4).astype(np.int64)
    liked = rng.integers(0, shape.topics, (n, shape.topics_of_user))
    # Half as many again, since those that come twice count once.
    drawn = lengths + lengths // 2 + 4
    users = np.repeat(np.arange(n), drawn)
    # The first topic of a user is drawn twice as often as the second, and so on.
    which = np.minimum(rng.geometric(0.5, len(users)) - 1, shape.topics_of_user - 1)
    topics = liked[users, which]
    places = rng.random(len(users))
    items = np.empty(len(users), dtype=np.int64)
    order = np.argsort(topics, kind="stable")
    edges = np.searchsorted(topics[order], np.arange(shape.topics + 1))
    for topic in range(shape.topics):
        own = order[edges[topic] : edges[topic + 1]]
        items[own] = np.searchsorted(cumulative[topic], places[own])
    _, firsts = np.unique(users * shape.items + items, return_index=True)
    firsts.sort()
    users, items, topics = users[firsts], items[firsts], topics[firsts]
    # The first so many of each user.
    starts = np.searchsorted(users, np.arange(n))
    kept = np.arange(len(users)) - starts[users] < lengths[users]
    users, items, topics = users[kept], items[kept], topics[kept]
    counts = np.ones(len(users), dtype=np.int32)
    if shape.plays:
        mean = np.exp(0.35 * liking[topics, items] + rng.standard_normal(len(users)))
        counts = np.minimum(1 + rng.poisson(mean), 10_000).astype(np.int32)
    return Pairs((users + first).astype(np.int32), items.astype(np.int32), counts)


def interactions_of(pairs: Pairs, *, shape: Shape) -> Interactions:
    """Index the pairs as training does; users and items that do not occur keep an index."""
    return Interactions.from_pairs(
        Ids.from_texts([f"u{number:08d}" for number in range(shape.users)]),
        Ids.from_texts([f"i{number:08d}" for number in range(shape.items)]),
        user_indices=pairs.users,
        item_indices=pairs.items,
        weights=pairs.counts.astype(np.float32),
    )


def write_csv(pairs: Pairs, file: Path, *, shape: Shape, columns: Columns = "plain", random_state: int = 0) -> None:
    """Write the pairs, shuffled as a log is, with text ids, and `total_interactions` for a shape with plays.

    Parameters
    ----------
    columns
        `plain`: no others; `quoted`: the same, each value in quotation marks; `weight`: also a made-up weight, for
        a shape without plays; `time`: and epoch seconds.
    """
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(pairs.users))
    user_ids = pa.array([f"u{number:08x}" for number in rng.permutation(shape.users)])
    item_ids = pa.array([f"item-{number:06d}" for number in rng.permutation(shape.items)])

    def batch(start: int) -> pa.RecordBatch:
        rows = order[start : start + _ROWS_AT_ONCE]
        values = {
            "user_id": user_ids.take(pa.array(pairs.users[rows])),
            "item_id": item_ids.take(pa.array(pairs.items[rows])),
        }
        if shape.plays:
            values["total_interactions"] = pa.array(pairs.counts[rows])
        elif columns in ("weight", "time"):
            values["weight"] = pa.array(rng.geometric(0.3, len(rows)).astype(np.int32))
        if columns == "time":
            values["timestamp"] = pa.array(_FIRST_SECOND + rng.integers(0, 10**8, len(rows)))
        return pa.RecordBatch.from_pydict(values)

    quoting = "all_valid" if columns == "quoted" else "none"
    how = pyarrow.csv.WriteOptions(quoting_style=quoting, quoting_header=quoting)
    first = batch(0)
    with pyarrow.csv.CSVWriter(file, first.schema, write_options=how) as writer:
        writer.write_batch(first)
        for start in range(_ROWS_AT_ONCE, len(order), _ROWS_AT_ONCE):
            writer.write_batch(batch(start))


def main() -> None:
    """Write a shape as CSV."""
    parser = argparse.ArgumentParser(prog="benchmarks.generated", description="Write made-up interactions as CSV.")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", choices=COLUMNS, default="plain", help="beside the ids (plain: none)")
    parser.add_argument("--random-state", type=int, default=0)
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    pairs = pairs_of(shape, random_state=arguments.random_state)
    write_csv(pairs, arguments.file, shape=shape, columns=arguments.columns, random_state=arguments.random_state)
    print(
        f"{len(pairs.users):,} pairs of {shape.users:,} users and {len(np.unique(pairs.items)):,} items",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
