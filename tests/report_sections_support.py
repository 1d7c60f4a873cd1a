"""Small models to report on, and what their sections hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import ItemDetails
from factorbox.evaluation.estimates import Estimate, Evaluation, Group
from factorbox.models.base import Factors
from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Chart, Facts, Row, Section, Text

_COMPILE = """
import json, sys, vl_convert
for spec in json.load(sys.stdin):
    vl_convert.vegalite_to_vega(spec, vl_version=sys.argv[1])
"""


def model_of(
    folder: Path,
    rows: Sequence[Sequence[int]],
    *,
    n_items: int,
    weights: Sequence[Sequence[float]] | None = None,
    algorithm: str = "als",
    user_ids: Sequence[str] | None = None,
    item_ids: Sequence[str] | None = None,
    titles: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Recommender:
    """Save a model of these rows of item indices with factors that are drawn, and load it; ids must be sorted."""
    lengths = [len(row) for row in rows]
    values = [1.0] * sum(lengths) if weights is None else [value for row in weights for value in row]
    interactions = Interactions(
        user_ids=Ids.from_texts(user_ids or [f"u{u:06d}" for u in range(len(rows))]),
        item_ids=Ids.from_texts(item_ids or [f"i{i:06d}" for i in range(n_items)]),
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        item_indices=np.array([item for row in rows for item in row], dtype=np.int32),
        weights=np.array(values, dtype=np.float32),
    )
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    users, items = interactions.n_users, interactions.n_items
    artifact.save(
        folder,
        interactions=interactions,
        factors=Factors(draw(users, 4), draw(items, 4), draw(users), draw(items), epochs=3, train_loss=0.5),
        algorithm=algorithm,
        hyperparameters={"embedding_dim": 4, "exclude_seen": True},
        metrics={},
        item_details=None if titles is None else ItemDetails({"title": pa.array(titles, pa.large_string())}),
    )
    return Recommender.load(folder)


def estimate(value: float, half: float | None = 0.01) -> Estimate:
    return Estimate(value) if half is None else Estimate(value, value - half, value + half)


def evaluation_of(
    metrics: dict[str, float], baseline: dict[str, float], *, half: float | None = 0.01, groups: bool = True
) -> Evaluation:
    """Make an evaluation at 10, with the same values in each group."""
    model = {name: estimate(value, half) for name, value in metrics.items()}
    beside = {name: estimate(value, half) for name, value in baseline.items()}
    parts = [Group("1 to 20 interactions", 3, 9, model, beside), Group("21 interactions or more", 2, 7, model, beside)]
    by_popularity = [Group("items 1 to 2,000, 20% of interactions", 4, 12, model, beside)]
    return Evaluation(
        k=10,
        users=5,
        pairs=16,
        metrics=model,
        baseline=beside,
        by_activity=parts if groups else (),
        by_popularity=by_popularity if groups else (),
        auc_users=5,
    )


def every(blocks: Sequence[Block]) -> Iterator[Block]:
    """Go through blocks, and through those in rows."""
    for block in blocks:
        if isinstance(block, Row):
            yield from every(block.blocks)
        else:
            yield block


def charts_of(section: Section) -> dict[str, Chart]:
    return {block.title: block for block in every(section.blocks) if isinstance(block, Chart)}


def texts_of(section: Section) -> str:
    return " ".join(block.text for block in every(section.blocks) if isinstance(block, Text))


def facts_of(section: Section) -> dict[str, str]:
    return {label: value for block in every(section.blocks) if isinstance(block, Facts) for label, value in block.facts}


def rows_of(data: Any) -> list[dict[str, Any]]:
    """Return the rows of `charts.columns`, as the page makes them."""
    lists = {
        name: [column["texts"][code] for code in column["codes"]] if isinstance(column, dict) else column
        for name, column in data["columns"].items()
    }
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]


def assert_charts_compile(sections: Sequence[Section]) -> None:
    """Have Vega-Lite itself compile every chart, once with the page's rows for columns."""
    specs = [_expanded(chart.spec) for section in sections for chart in charts_of(section).values()]
    assert specs
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, "6.4"],
        input=json.dumps(specs, allow_nan=False),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def _expanded(node: Any, name: str = "") -> Any:
    """Return a specification as the page hands it to Vega-Lite, with some colour for each of its own names."""
    if isinstance(node, dict):
        if name == "data" and "columns" in node:
            return {"values": rows_of(node)}
        return {key: _expanded(value, key) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_expanded(value, name) for value in node]
    if name == "width" and node == "container":
        return 340
    return "#777777" if isinstance(node, str) and node.startswith("@") and name != "values" else node
