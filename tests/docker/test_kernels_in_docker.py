from __future__ import annotations

import re
from pathlib import Path

import pytest

from docker_support import LOCAL_TEST, ask, base_folder, docker, serving
from factorbox.kernels import TARGETS, fitting_target

REQUESTS = (LOCAL_TEST / "payloads/requests.jsonl").read_text()
LEVEL_3 = pytest.mark.skipif(
    fitting_target(Path("/proc/cpuinfo").read_text()) is None, reason="this processor has no AVX2 to run such code"
)


def cpuinfo(folder: Path, *, flags: frozenset[str]) -> tuple[str, str]:
    """Return the option that shows a container another processor than the one at hand."""
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Another CPU @ 2.00GHz\nflags\t\t: {' '.join(sorted(flags))}\n\n")
    return "--volume", f"{path}:/proc/cpuinfo:ro"


@LEVEL_3
def test_another_processor_trains_and_serves_without_compiling(image: str, tmp_path: Path) -> None:
    base = base_folder(tmp_path)
    other = cpuinfo(tmp_path, flags=TARGETS["x86-64-v3"])
    log = docker("run", "--rm", "--read-only", *other, "--volume", f"{base}:/opt/ml", image, "train")
    assert re.search(r"kernels=x86-64-v3; compiled=0; loaded=[1-9]", log)
    # In a folder that can be written numba says what it loads, and what it had to compile and saves.
    with serving(image, base / "model", options=(*other, "--env", "NUMBA_DEBUG_CACHE=1")) as container:
        ask(container, REQUESTS)
        log = container.logs()
    assert "data loaded from" in log
    assert "data saved to" not in log


def test_this_processor_trains_without_compiling(trained: tuple[Path, str]) -> None:
    assert "compiled=0;" in trained[1]


def test_no_algorithm_compiles(image: str, tmp_path: Path) -> None:
    script = "from factorbox.models import ALGORITHMS; print(*ALGORITHMS)"
    for name in docker("run", "--rm", image, "python3", "-c", script).split():
        folder = tmp_path / name
        folder.mkdir()
        base = base_folder(folder)
        (base / "input/config/hyperparameters.json").write_text(
            f'{{"algorithm": "{name}", "embedding_dim": "50", "epochs": "2"}}'
        )
        log = docker("run", "--rm", "--read-only", "--volume", f"{base}:/opt/ml", image, "train")
        assert "compiled=0;" in log


def test_a_processor_that_fits_no_target_compiles_in_memory(image: str, tmp_path: Path) -> None:
    base = base_folder(tmp_path)
    old = cpuinfo(tmp_path, flags=frozenset({"sse4_2", "popcnt"}))
    log = docker("run", "--rm", "--read-only", *old, "--volume", f"{base}:/opt/ml", image, "train")
    found = re.search(r"kernels=(\S+); compiled=(\d+);", log)
    assert found is not None
    assert found[1] not in TARGETS
    assert int(found[2]) > 0
    assert (base / "model/manifest.json").exists()
