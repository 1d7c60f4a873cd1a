"""Models of every kind to report on, and reading what a section of the report says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import vl_convert
from numpy.typing import NDArray

from factorbox import artifact
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import ItemDetails
from factorbox.data.splits import Pairs
from factorbox.models import ALGORITHMS
from factorbox.models.base import Factors
from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Chart, Facts, Row, Section, Table, Text
from factorbox.report.inputs import ReportInputs

TOKEN = re.compile(r"@[a-z]+")


def trained(
    folder: Path,
    algorithm: str,
    interactions: Interactions,
    *,
    titles: Sequence[str | None] | None = None,
    held_out: Pairs | None = None,
    **options: Any,
) -> Recommender:
    """Fit a model for an epoch or a few, save and load it."""
    chosen = ALGORITHMS[algorithm]
    defaults = {"embedding_dim": 4, "epochs": 3}
    config = chosen.resolved(chosen.config(**{**defaults, **options}), interactions=interactions)
    factors = chosen.fit(interactions, config=config, random_state=1)
    hyperparameters = {"algorithm": algorithm, **asdict(config), "random_state": 1, "exclude_seen": True}
    return _saved(folder, algorithm, interactions, factors, hyperparameters, titles=titles, held_out=held_out)


def with_factors(
    folder: Path,
    interactions: Interactions,
    *,
    item_factors: NDArray[np.floating],
    item_biases: NDArray[np.floating] | None = None,
    algorithm: str = "als",
    titles: Sequence[str | None] | None = None,
    unavailable: Sequence[int] = (),
) -> Recommender:
    """Save and load a model with these item factors."""
    vectors = np.ascontiguousarray(item_factors, dtype=np.float32)
    n_users, (n_items, d) = interactions.n_users, vectors.shape
    users = np.random.default_rng(0).standard_normal((n_users, d)).astype(np.float32)
    biases = np.zeros(n_items) if item_biases is None else item_biases
    factors = Factors(
        user_factors=users,
        item_factors=vectors,
        user_biases=np.zeros(n_users, np.float32),
        item_biases=biases.astype(np.float32),
        epochs=1,
        train_loss=0.0,
        fold_in={"positive": 2.0, "negative": -2.0, "unobserved_weight": 0.1, "regularization": 1.0},
    )
    hyperparameters = {"algorithm": algorithm, "embedding_dim": d, "exclude_seen": True}
    if algorithm == "als":
        hyperparameters |= {"alpha": 1.0, "unobserved_weight": 0.3, "regularization": 0.38}
    return _saved(folder, algorithm, interactions, factors, hyperparameters, titles=titles, unavailable=unavailable)


def _saved(
    folder: Path,
    algorithm: str,
    interactions: Interactions,
    factors: Factors,
    hyperparameters: Mapping[str, Any],
    *,
    titles: Sequence[str | None] | None,
    held_out: Pairs | None = None,
    unavailable: Sequence[int] = (),
) -> Recommender:
    available = np.ones(interactions.n_items, dtype=np.bool_)
    available[list(unavailable)] = False
    details = None if titles is None else ItemDetails({"title": pa.array(titles, type=pa.large_string())})
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        metrics={"train_loss": 0.5},
        available=available,
        item_details=details,
        held_out=held_out,
    )
    return Recommender.load(folder)


def inputs_of(model: Recommender, **given: Any) -> ReportInputs:
    return ReportInputs(model=model, **{"evaluation": None, "measured": "Nothing was held out.", **given})


def flat(blocks: Sequence[Block]) -> Iterator[Block]:
    """Give the blocks, and those of rows."""
    for block in blocks:
        if isinstance(block, Row):
            yield from flat(block.blocks)
        else:
            yield block


def charts(section: Section) -> list[Chart]:
    return [block for block in flat(section.blocks) if isinstance(block, Chart)]


def tables(section: Section) -> list[Table]:
    return [block for block in flat(section.blocks) if isinstance(block, Table)]


def facts(section: Section) -> list[tuple[str, str]]:
    return [fact for block in flat(section.blocks) if isinstance(block, Facts) for fact in block.facts]


def words(section: Section) -> str:
    """Return all that a section says in sentences."""
    texts = [block.text for block in flat(section.blocks) if isinstance(block, Text)]
    notes = [block.note for block in flat(section.blocks) if isinstance(block, Table | Chart)]
    return " ".join([section.lead, *texts, *notes])


def rows_of(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that the page makes of columns."""
    columns = {
        name: [column["texts"][code] for code in column["codes"]] if isinstance(column, dict) else column
        for name, column in data["columns"].items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def check_sound(section: Section) -> None:
    """Check what is to be so of any section: JSON, tables in shape, charts that compile and name no colour."""
    json.dumps(section.numbers, allow_nan=False)
    for table in tables(section):
        assert {len(row) for row in table.rows} <= {len(table.columns)}
        assert all(isinstance(text, str) for row in table.rows for text in row)
    for chart in charts(section):
        written = json.dumps(chart.spec, allow_nan=False)
        assert "#" not in re.sub(r'"(title|item|label|short|texts|labels)": \[[^]]*\]', "", written)
        vega = vl_convert.vegalite_to_vega({**_as_drawn(chart.spec), "width": 400}, vl_version="6.4")
        assert vega["marks"]


def _as_drawn(part: Any) -> Any:
    if isinstance(part, Mapping):
        if set(part) == {"columns"}:
            return {"values": rows_of(part)}
        return {name: _as_drawn(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_as_drawn(value) for value in part]
    return "#123456" if isinstance(part, str) and TOKEN.fullmatch(part) else part
