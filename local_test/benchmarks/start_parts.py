"""The parts of a server's start one after the other, as JSON: what `benchmarks.start_up` runs in a fresh process.

python -m benchmarks.start_parts MODEL_FOLDER
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from factorbox.absent import refuse_imports

_IMPORTS = ("numpy", "pyarrow.compute", "numba", "flask", "gunicorn.arbiter", "factorbox.serving.server")
"""In this order: the time of each is without those before it."""


def main() -> None:
    """Go through the parts and print their seconds."""
    folder = Path(sys.argv[1])
    refuse_imports("pandas", "scipy")
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def passed(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        seconds[name], clock = now - clock, now

    for name in _IMPORTS:
        importlib.import_module(name)
        passed(f"import {name.partition('.')[0]}")
    artifact, manifest, model_files = (
        _module(name) for name in ("factorbox.artifact", "factorbox.manifest", "factorbox.model_files")
    )
    clock = time.perf_counter()
    model_files.verify_all(folder, manifest.read_manifest(folder)["files"])
    passed("SHA-256 of the files")
    loaded = artifact.load(folder)
    passed("mapping and looking through")
    seconds["mapping and looking through"] -= seconds["SHA-256 of the files"]
    recommender = _module("factorbox.recommender").Recommender(loaded)
    recommender.warm_up()
    passed("first answer of a worker")
    print(json.dumps(seconds))


def _module(name: str) -> Any:
    return importlib.import_module(name)


if __name__ == "__main__":
    main()
