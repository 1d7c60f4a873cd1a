"""Writing a report: the page, and its numbers as JSON."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

from factorbox import __version__
from factorbox.errors import PlatformError
from factorbox.report import vega
from factorbox.report.blocks import Section, Text
from factorbox.report.charts import count, decimal
from factorbox.report.comparisons import BASELINES, display_name, gain_size, gain_texts
from factorbox.report.data_section import data_section
from factorbox.report.embeddings import embeddings_section
from factorbox.report.inputs import ReportInputs
from factorbox.report.item_space import item_space_section
from factorbox.report.markup import as_json, section_markup
from factorbox.report.model_card import model_card_section
from factorbox.report.page import Opening, page
from factorbox.report.people import people_section
from factorbox.report.quality_section import headline, headline_facts, quality_section
from factorbox.writing import disk_errors, partial_folder

logger = logging.getLogger(__name__)

PAGE = "report.html"
NUMBERS = "report.json"

Maker = Callable[[ReportInputs], Section]

MAKERS: Mapping[str, tuple[str, Maker]] = MappingProxyType(
    {
        "data": ("The data", data_section),
        "quality": ("How good it is", quality_section),
        "item_space": ("The item space", item_space_section),
        "embeddings": ("Embeddings", embeddings_section),
        "people": ("Three users", people_section),
        "model_card": ("Model card", model_card_section),
    }
)
"""The sections in order: the key of each, its heading where it fails, and what makes it."""

_ACRONYMS = frozenset(("als", "bpr", "nmf", "mlp"))


def write_report(folder: Path, inputs: ReportInputs, *, makers: Mapping[str, tuple[str, Maker]] = MAKERS) -> None:
    """Write report.html and report.json, each whole.

    A section that fails is replaced by one that says why, and its traceback goes to the log.

    Parameters
    ----------
    folder
        Made where it is missing.
    inputs
        What the report tells of.
    makers
        What makes each section, by its key.

    Raises
    ------
    PlatformError
        Where the folder cannot be written, or the disk is full, or a folder has the name of a file of the report.
    """
    started = time.monotonic()
    written = datetime.now(UTC)
    sections = [_section(key, title, maker, inputs) for key, (title, maker) in makers.items()]
    opening = _opening(inputs, written)
    script, remark = _vega()
    html = page(replace(opening, remark=remark), sections=sections, vega=script)
    numbers = {
        "title": opening.title,
        "algorithm": inputs.model.manifest["algorithm"],
        "written": written.isoformat(timespec="seconds"),
        "factorbox": __version__,
        **{section.key: section.numbers for section in sections},
    }
    with disk_errors(folder), partial_folder(folder) as partial:
        (partial / PAGE).write_text(html, encoding="utf-8")
        (partial / NUMBERS).write_text(as_json(numbers) + "\n", encoding="utf-8")
        _check_that_no_folder_is_in_the_way(folder)
        for name in (NUMBERS, PAGE):
            os.replace(partial / name, folder / name)
    logger.info("report=%s; bytes=%d; seconds=%.2f;", folder / PAGE, len(html), time.monotonic() - started)


def remove_report(folder: Path) -> None:
    """Remove the report of an earlier training, which tells of another model; where that fails, the log has it."""
    for name in (PAGE, NUMBERS):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            logger.error("cannot remove the old %s: %s", folder / name, error.strerror)


def write_failed_report(folder: Path, *, why: str) -> None:
    """Write a page that says why there is no report; where even that is impossible, the log has it."""
    text = f"The report could not be made. The model is not affected; the log says more. {why}"
    try:
        page = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>No report</title><p>{escape(text)}</p>\n'
        (folder / PAGE).write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        logger.error("cannot write %s: %s", folder / PAGE, error.strerror)


def _check_that_no_folder_is_in_the_way(folder: Path) -> None:
    for path in (folder / NUMBERS, folder / PAGE):
        if path.is_dir():
            raise PlatformError(f"cannot write {path}: it is a folder; remove it")


def _section(key: str, title: str, maker: Maker, inputs: ReportInputs) -> Section:
    """Make a section; whatever goes wrong with one is said in its place."""
    try:
        section = maker(inputs)
        # What cannot be written is found here rather than with the others.
        section_markup(section)
        as_json(section.numbers)
    except Exception as error:
        logger.exception("the section %s of the report failed", key)
        reason = f"{type(error).__name__}: {error}"
        lead = "This part of the report could not be made. The model is not affected; the log says more."
        return Section(key=key, title=title, lead=lead, blocks=[Text(reason)], numbers={"error": reason})
    return section


def _vega() -> tuple[str, str]:
    """Return the charts' script, or else why there is none."""
    try:
        return vega.bundle(), ""
    except (OSError, RuntimeError) as error:
        logger.exception("the charts of the report are left out")
        return "", f"The charts are left out: {error}"


def _opening(inputs: ReportInputs, written: datetime) -> Opening:
    counts: Mapping[str, Any] = inputs.model.manifest["counts"]
    algorithm = str(inputs.model.manifest["algorithm"])
    name = algorithm.upper() if algorithm in _ACRONYMS else algorithm.replace("_", " ").capitalize()
    title = f"{name} model for {count(counts['users'])} users and {count(counts['items'])} items"
    return Opening(
        kicker=f"Report of a model · {written.day} {written:%B %Y}",
        title=title,
        standfirst=f"{_verdict(inputs)} Trained on {count(counts['pairs'])} interactions.",
        facts=None if inputs.evaluation is None else headline_facts(inputs.evaluation),
    )


def _verdict(inputs: ReportInputs) -> str:
    """Say how good it is in one sentence, by the metric that leads."""
    first = [] if inputs.evaluation is None else headline(inputs.evaluation)
    if not first:
        return inputs.measured
    one = first[0]
    when = (
        "Measured before the final training"
        if inputs.has_learned_all
        else "Measured on interactions that it has not learned from"
    )
    gain = ""
    if one.gain:
        words = f"{gain_size(one.gain)} {'better' if one.gain > 0 else 'worse'}"
        gain = f" ({gain_texts([one])[0] if one.metric.larger_is_better else words})"
    return (
        f"{when}: {display_name(one.metric.name)} {decimal(one.model.value)}; {BASELINES[one.metric.kind]}"
        f" {decimal(one.baseline.value)}{gain}."
    )
