"""The section that describes the model: what it is and is for, its parts, how it was made, and how to make it again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from factorbox.evaluation.metrics import RATING_METRICS, ranking_metrics_at
from factorbox.models import ALGORITHMS
from factorbox.options import options_of
from factorbox.recommender import Recommender
from factorbox.report.blocks import Block, Download, Facts, Row, Section, Table, Text
from factorbox.report.charts import count, decimal, duration, rounded, size
from factorbox.report.comparisons import BASELINES, display_name
from factorbox.report.inputs import ReportInputs
from factorbox.report.labels import shortened
from factorbox.report.model_purposes import PURPOSES
from factorbox.report.scores import predicts_ratings

_FLOAT_BYTES = 4
_DIGEST = 16
_DIGITS = 6
_PARTS = ("user_factors", "item_factors", "user_biases", "item_biases")
_WORDS = {
    "users": "users",
    "items": "items",
    "pairs": "pairs of user and item",
    "held_out_pairs": "pairs held out and not put back",
    "embedding_dim": "dimensions",
    "epochs": "epochs",
    "unavailable_items": "items that are never recommended",
}


def model_card_section(inputs: ReportInputs) -> Section:
    """Return the model card."""
    model = inputs.model
    manifest, purpose = model.manifest, PURPOSES[model.algorithm]
    parts = list(_parts(model))
    parameters = sum(part["parameters"] for part in parts)
    files = {name: dict(recorded) for name, recorded in manifest["files"].items()}
    stored = sum(recorded["bytes"] for recorded in files.values())
    seconds = {phase: rounded(taken) for phase, taken in inputs.seconds.items()}
    blocks: list[Block] = [
        Text(f"{purpose.what} {purpose.use}"),
        Text(f"Limits: {purpose.limits}"),
        Facts(
            [
                ("algorithm", model.algorithm),
                ("parameters", count(parameters)),
                ("on disk", size(stored)),
                *([("in all", duration(sum(inputs.seconds.values())))] if inputs.seconds else []),
            ]
        ),
        Text(_metrics_line(inputs)),
        Row([_parts_table(parts), _counts_table(manifest["counts"], epochs=_epochs_text(manifest))]),
        *_hyperparameters_tables(model),
        Row([_libraries_table(manifest["libraries"]), *_seconds_table(inputs.seconds)]),
        _files_table(files, seal=manifest.get("sha256_of_the_above")),
        Text(_how_to_reproduce(model)),
        Download(
            label="The hyperparameters of this job",
            name="hyperparameters.json",
            content=json.dumps(_given_again(manifest["hyperparameters"]), indent=2, ensure_ascii=False) + "\n",
        ),
    ]
    return Section(
        key="model_card",
        title="Model card",
        lead="What this model is, what it is for, and what went into it.",
        blocks=blocks,
        numbers={
            "algorithm": model.algorithm,
            "what": purpose.what,
            "use": purpose.use,
            "limits": purpose.limits,
            "format_version": manifest["format_version"],
            "parts": parts,
            "parameters": parameters,
            "parameter_bytes": _FLOAT_BYTES * parameters,
            "counts": dict(manifest["counts"]),
            "hyperparameters": dict(manifest["hyperparameters"]),
            "libraries": dict(manifest["libraries"]),
            "seconds": seconds,
            "metrics": _metrics(inputs),
            "training_metrics": dict(manifest["metrics"]),
            "files": files,
            "sha256_of_the_manifest": manifest.get("sha256_of_the_above"),
        },
    )


def _parts(model: Recommender) -> Iterator[dict[str, Any]]:
    """Give what the model consists of; biases of a model without any are no parameters."""
    arrays = {name: getattr(model, name) for name in _PARTS}
    for name, array in {**arrays, **model.layers}.items():
        unused = name.endswith("_biases") and not array.any()
        yield {"part": name, "shape": list(array.shape), "parameters": 0 if unused else int(array.size)}
    # What answers unknown users is made of the others.
    if model.global_mean:
        yield {"part": "global_mean", "shape": [], "parameters": 1}


def _parts_table(parts: list[dict[str, Any]]) -> Table:
    rows = [
        (
            part["part"],
            " × ".join(count(length) for length in part["shape"]) or "1",
            count(part["parameters"]) if part["parameters"] else "unused",
        )
        for part in parts
    ]
    total = sum(part["parameters"] for part in parts)
    return Table(
        title="Parts",
        columns=["Part", "Shape", "Parameters"],
        rows=[*rows, ("all", "", count(total))],
        numeric=(1, 2),
        note=f"Each parameter takes {_FLOAT_BYTES} bytes (float32), all together {size(_FLOAT_BYTES * total)}.",
    )


def _epochs_text(manifest: Mapping[str, Any]) -> str:
    """Return how many epochs there were; where training went on after the model was measured, both numbers."""
    epochs, measured = manifest["counts"]["epochs"], manifest.get("validation", {}).get("epoch", 0)
    if not 0 < measured < epochs:
        return count(epochs)
    return f"{count(epochs)} ({count(measured)} measured, {count(epochs - measured)} on all)"


def _counts_table(counts: Mapping[str, Any], *, epochs: str) -> Table:
    # Of pairs that were all put back there is nothing to say here.
    shown = {name: count(number) for name, number in counts.items() if number or name != "held_out_pairs"}
    return Table(
        title="Counts",
        columns=["What", "Number"],
        rows=[(_WORDS.get(name, name), text) for name, text in (shown | {"epochs": epochs}).items()],
        numeric=(1,),
    )


def _hyperparameters_tables(model: Recommender) -> list[Table]:
    """Return those of the algorithm with their meaning, and all others."""
    kept = model.manifest["hyperparameters"]
    own = options_of(ALGORITHMS[model.algorithm].config)
    tables = [
        Table(
            title=f"Hyperparameters of {model.algorithm}",
            columns=["Name", "Value", "Meaning"],
            rows=[(name, _value_text(kept[name]), own[name].help) for name in own if name in kept],
            note="As they took effect, given or default.",
        )
    ]
    others = [(name, _value_text(value)) for name, value in kept.items() if name not in own]
    if others:
        tables.append(Table(title="Other hyperparameters", columns=["Name", "Value"], rows=others, folded=True))
    return tables


def _value_text(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}"
    return str(value).lower() if isinstance(value, bool) else shortened(str(value))


def _given_again(hyperparameters: Mapping[str, Any]) -> dict[str, str]:
    """Return hyperparameters as a job takes them: texts, and none for what was not set."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in hyperparameters.items()
        if value is not None
    }


def _libraries_table(libraries: Mapping[str, str]) -> Table:
    return Table(title="Versions", columns=["Library", "Version"], rows=list(libraries.items()))


def _seconds_table(seconds: Mapping[str, float]) -> list[Table]:
    if not seconds:
        return []
    return [
        Table(
            title="Time",
            columns=["Part of the job", "Took"],
            rows=[(phase.replace("_", " "), duration(taken)) for phase, taken in seconds.items()],
            numeric=(1,),
        )
    ]


def _files_table(files: Mapping[str, Mapping[str, Any]], *, seal: str | None) -> Table:
    rows = [(name, size(recorded["bytes"]), recorded["sha256"]) for name, recorded in files.items()]
    if seal is not None:
        rows.append(("manifest.json, all of the above", "", seal))
    return Table(
        title="Files",
        columns=["File", "Size", "SHA-256"],
        rows=[(name, bytes_, f"{digest[:_DIGEST]}…") for name, bytes_, digest in rows],
        numeric=(1,),
        note="manifest.json and report.json have the digests in full.",
        folded=True,
    )


def _metrics(inputs: ReportInputs) -> dict[str, float | None]:
    """Return the metrics of the evaluation by name."""
    found = inputs.evaluation
    return {} if found is None else {name: rounded(estimate.value) for name, estimate in found.metrics.items()}


def _metrics_line(inputs: ReportInputs) -> str:
    """Return the objective of the model, beside its baseline, and on what."""
    found = inputs.evaluation
    if found is None:
        return f"How good it is: {inputs.measured}"
    objectives = [*(RATING_METRICS if predicts_ratings(inputs.model) else ()), *ranking_metrics_at(found.k)]
    shown = [metric for metric in objectives if metric.name in found.metrics][:3]
    values = ", ".join(
        f"{display_name(metric.name)} {decimal(found.metrics[metric.name].value)}"
        + (
            f" ({BASELINES[metric.kind]}: {decimal(found.baseline[metric.name].value)})"
            if metric.name in found.baseline
            else ""
        )
        for metric in shown
    )
    return f"How good it is: {values}. {inputs.measured}"


def _how_to_reproduce(model: Recommender) -> str:
    seed = model.manifest["hyperparameters"].get("random_state")
    seeded = f", with random_state={seed} among them" if seed is not None else ""
    return (
        f"To make it again: the same data, these hyperparameters{seeded}, the same versions and the same type of"
        " processor give the same bytes in every file, whatever the number of threads. SHA-256 digests tell."
    )
