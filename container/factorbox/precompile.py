"""Compile every kernel for every target: what the image is built with, so that a container compiles nothing.

It runs a small training and a few answers of each kind, because the argument types of a kernel are those that
it is really called with. Then each target is compiled from the argument types alone, in a process of its own: the
machine that builds the image need not be able to run them.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import pkgutil
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import factorbox
from factorbox import kernels
from factorbox.contract.log_lines import configure_logging
from factorbox.contract.paths import Paths
from factorbox.contract.stop_signal import StopSignal
from factorbox.data.reading import ReadOptions, read_interactions
from factorbox.errors import AlgorithmError
from factorbox.models import ALGORITHMS
from factorbox.recommend.queries import Query
from factorbox.recommender import Recommender
from factorbox.serving.invocations import Invocations
from factorbox.serving.settings import Settings
from factorbox.training.train import train

logger = logging.getLogger(__name__)

_VARIANTS = (
    {"algorithm": "explicit", "loss": "logistic", "like_above": "2"},
    {"algorithm": "nmf", "observed_only": "true"},
    {"algorithm": "mlp", "loss": "squared", "hidden_sizes": "8,4"},
    {"algorithm": "als", "validation": "last"},
)
"""Jobs that call kernels which the defaults do not."""

_COMPILE = "from factorbox import precompile; precompile.compile_for_this_target()"


def main() -> None:
    """Run every kernel once, then compile all of them for all targets.

    Raises
    ------
    AlgorithmError
        Where a kernel was not run.
    """
    configure_logging()
    _import_everything()
    with tempfile.TemporaryDirectory() as folder:
        run_every_kernel(Path(folder))
    if not_run := kernels.never_called(kernels.imported_kernels()):
        raise AlgorithmError(f"nothing called the kernels {', '.join(not_run)}: call them in {__file__}")
    # This process has just compiled for its own.
    targets = kernels.TARGETS.keys() - {kernels.target()} if platform.machine() == "x86_64" else set()
    children = [
        subprocess.Popen([sys.executable, "-c", _COMPILE], env={**os.environ, "NUMBA_CPU_NAME": target})
        for target in targets
    ]
    failed = [target for target, child in zip(targets, children, strict=True) if child.wait() != 0]
    if failed:
        raise AlgorithmError(f"the kernels could not be compiled for {', '.join(failed)}")


def compile_for_this_target() -> None:
    """Compile all kernels for this process's target from the argument types on disk."""
    configure_logging()
    _import_everything()
    kernels.compile_for_this_target(kernels.imported_kernels())
    logger.info(kernels.summary())


def run_every_kernel(folder: Path) -> None:
    """Train each algorithm on a few made-up rows below `folder`, and answer from the models."""
    paths = Paths(folder)
    channel = paths.channel("training")
    channel.mkdir(parents=True)
    paths.hyperparameters.parent.mkdir(parents=True)
    rows = (
        f"u{user},i{(user * step) % 13},{1 + (user * step) % 5},{1000 * user + step}"
        for user in range(40)
        for step in range(1, 8)
    )
    text = "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    (channel / "interactions.csv").write_text(text, encoding="utf-8")
    for hyperparameters in (*({"algorithm": name} for name in ALGORITHMS), *_VARIANTS):
        # Kernels take the dimension at run time: one stands for all.
        job = {"embedding_dim": "8", "epochs": "2", "validation": "stratified", **hyperparameters}
        paths.hyperparameters.write_text(json.dumps(job), encoding="utf-8")
        train(paths, stop=StopSignal())
        _answer(paths.model)
    _read_without_weights(folder / "unweighted.csv")


def _read_without_weights(file: Path) -> None:
    """Read rows of more users than the smallest table of ids holds, with times in words and without weights."""
    rows = (f"user {number},i{number % 7},2024-05-31T08:00:00Z" for number in range(2_000))
    file.write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    interactions, _ = read_interactions(file, options=ReadOptions(), keep_times=True)
    interactions.by_item()


def _answer(model: Path) -> None:
    recommender = Recommender.load(model)
    recommender.warm_up()
    asked = (
        Query("u3"),
        Query("nobody", exclude_seen=False),
        Query("u3", include_items=["i1", "i5"], exclude_items=["i5"]),
        Query(history=["i1", "i2"]),
        Query(history={"i1": 2.0}, explain=2),
        Query("u3", item_ids=["i1", "nothing"]),
        Query("u3", item_ids=["i1", "nothing"], explain=2),
        Query(item_id="i1"),
        Query("u3", similar_users=True),
    )
    answerable = [query for query in asked if recommender.answering.misfit(query) is None]
    recommender.answering.answer(recommender.answering.resolve(answerable), exclude_seen=True)
    lines = b'{"user_id": "u3"}\n{"user_id": "nobody", "top_n": "2"}\n{"user_id": "u3", "item_ids": ["i1", "nothing"]}'
    Invocations(recommender, settings=Settings()).answer(lines, request_format="json", answer_format="csv")


def _import_everything() -> None:
    for module in pkgutil.walk_packages(factorbox.__path__, f"{factorbox.__name__}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


if __name__ == "__main__":
    main()
