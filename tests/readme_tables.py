"""The parts of README.md that come from the code: `python tests/readme_tables.py` writes them anew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from factorbox.evaluation.metrics import METRICS
from factorbox.models import ALGORITHMS
from factorbox.options import Option, options_of
from factorbox.serving.fields import FIELDS
from factorbox.serving.forms import FORMS
from factorbox.training.job import OPTIONS

TOP = Path(__file__).resolve().parent.parent
README = TOP / "README.md"


def hyperparameters() -> str:
    """Return the table of all hyperparameters, each once, with its defaults by algorithm where they differ."""
    rows = ["| name (aliases) | meaning | range | default |", "| --- | --- | --- | --- |"]
    for config in OPTIONS:
        rows += [_row(declared, _value(declared.default)) for declared in options_of(config).values()]
    # One name may mean different things to different algorithms.
    of_algorithms: dict[tuple[str, str], tuple[Option, dict[str, Any]]] = {}
    for algorithm in ALGORITHMS.values():
        for declared in options_of(algorithm.config).values():
            key = declared.name, declared.help
            of_algorithms.setdefault(key, (declared, {}))[1][algorithm.name] = declared.default
    for declared, defaults in of_algorithms.values():
        by_default: dict[str, list[str]] = {}
        for algorithm_name, default in defaults.items():
            by_default.setdefault(_value(default), []).append(algorithm_name)
        alike = len(by_default) == 1 and len(defaults) == len(ALGORITHMS)
        text = "; ".join(f"{', '.join(names)}: {value}" for value, names in by_default.items() if value)
        rows.append(_row(declared, _value(declared.default) if alike else text))
    return "\n".join(rows)


def _row(declared: Option, default: str) -> str:
    names = f"`{declared.name}`"
    if declared.aliases:
        names += " (" + ", ".join(f"`{alias}`" for alias in declared.aliases) + ")"
    return f"| {names} | {declared.help} | {declared.range_text()} | {default} |"


def _value(default: object) -> str:
    if default is None:
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def dependencies() -> str:
    """Return the list of what the image installs on purpose, each with its reason."""
    lines = (TOP / "container/requirements.txt").read_text().splitlines()
    matches = (re.fullmatch(r"(\S+)==(\S+)\s+# (.*)", text) for text in lines)
    return "\n".join(f"* **{m[1]}** {m[2]}: {m[3]}" for m in matches if m)


def requests() -> str:
    """Return the table of the fields of a request, and which of them go together."""
    rows = ["| field | value | meaning | example |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{name}` | {field.kind.words} | {field.meaning} | `{json.dumps(field.example)}` |"
        for name, field in FIELDS.items()
    ]
    together = ["| asked for | needs one of | may be beside it |", "| --- | --- | --- |"]
    for form in reversed(FORMS):
        needs = "; ".join(
            _names(form.needs_for(subject), " and ") + "".join(f" (with `{name}` or without)" for name in subject.takes)
            for subject in form.subjects
        )
        together.append(f"| {form.wanted} | {needs} | {_names(form.takes, ', ')} |")
    return "\n".join([*rows, "", *together])


def metrics() -> str:
    """Return the table of the metrics that a job logs."""
    rows = ["| metric | beside it | meaning | for tuning |", "| --- | --- | --- | --- |"]
    for metric in METRICS:
        goal = "Maximize" if metric.larger_is_better else "Minimize"
        meaning = metric.meaning.replace("|", "\\|")
        rows.append(f"| `{metric.log_name}` | `{metric.baseline_name}` | {meaning} | {goal} |")
    return "\n".join(rows)


def _names(names: Iterable[str], between: str) -> str:
    return between.join(f"`{name}`" for name in names)


PARTS = {"hyperparameters": hyperparameters, "metrics": metrics, "requests": requests, "dependencies": dependencies}


def written() -> str:
    """Return README.md with every generated part as the code has it."""
    text = README.read_text(encoding="utf-8")
    for name, render in PARTS.items():
        start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, rest = text.split(start)
        after = rest.partition(end)[2] if end in rest else "\n" + rest
        text = before + start + render() + end + after
    return text


if __name__ == "__main__":
    README.write_text(written(), encoding="utf-8")
