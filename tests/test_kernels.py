from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from factorbox import kernels
from factorbox.kernels import TARGETS, fitting_target

INNER = """
from factorbox.kernels import kernel
@kernel()
def plus(a, b):
    return a + b
"""
OUTER = """
from factorbox.kernels import kernel
from factorbox.inner import plus
@kernel(reassociate=True)
def total(values):
    result = values[0] * 0
    for value in values:
        result = plus(result, value)
    return result
"""
CALL = """
import numpy as np
from factorbox import kernels, outer
print(outer.total(np.arange(10, dtype=np.float32)), kernels.summary())
"""
COMPILE = """
from factorbox import kernels, outer
kernels.compile_for_this_target(kernels.imported_kernels())
print(kernels.summary())
"""

x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the targets are levels of x86-64")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with the real decorator and two kernels of its own, one of which calls the other."""
    folder = tmp_path / "factorbox"
    folder.mkdir()
    shutil.copy(kernels.__file__, folder)
    (folder / "__init__.py").write_text("")
    (folder / "inner.py").write_text(INNER)
    (folder / "outer.py").write_text(OUTER)
    return folder


def run(package: Path, script: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def cpuinfo(*flags: str) -> str:
    return f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu vme {' '.join(flags)} ht\nbugs\t\t:\n"


@pytest.mark.parametrize("target", TARGETS)
def test_a_processor_with_all_flags_of_a_level_gets_that_level(target: str) -> None:
    assert fitting_target(cpuinfo(*TARGETS[target])) == target


@pytest.mark.parametrize("flag", sorted(TARGETS["x86-64-v4"]))
def test_one_missing_flag_rules_a_level_out(flag: str) -> None:
    expected = None if flag in TARGETS["x86-64-v3"] else "x86-64-v3"
    assert fitting_target(cpuinfo(*(TARGETS["x86-64-v4"] - {flag}))) == expected


@pytest.mark.parametrize("text", ["", "processor : 0\nFeatures : fp asimd evtstrm\n", "flags\n", "flags :\n"])
def test_another_kind_of_processor_gets_no_level(text: str) -> None:
    assert fitting_target(text) is None


def test_a_second_process_loads_what_the_first_one_compiled(package: Path) -> None:
    first = run(package, CALL)
    assert first.startswith("45.0 ")
    assert "compiled=2; loaded=0;" in first
    assert "compiled=0; loaded=1;" in run(package, CALL)


def test_a_change_to_a_kernel_in_another_file_is_seen(package: Path) -> None:
    run(package, CALL)
    (package / "inner.py").write_text(INNER.replace("a + b", "a - b"))
    assert run(package, CALL).startswith("-45.0 ")


def test_a_folder_that_cannot_be_written_means_compiling_in_memory(package: Path) -> None:
    # A file where the folder would be stops root as well.
    (package / "__pycache__").write_text("")
    for _ in range(2):
        assert "compiled=2; loaded=0;" in run(package, CALL)


@x86
def test_code_for_another_target_comes_from_the_argument_types_on_disk(package: Path) -> None:
    # The oldest of all, which every x86-64 processor can run.
    run(package, CALL, NUMBA_CPU_NAME="x86-64")
    assert f"kernels={kernels.target()}; compiled=2; loaded=0;" in run(package, COMPILE)
    assert f"kernels={kernels.target()}; compiled=0; loaded=1;" in run(package, CALL)


def test_a_target_of_numbas_own_variable_goes_first(package: Path) -> None:
    assert "kernels=generic;" in run(package, COMPILE, NUMBA_CPU_NAME="generic")


def test_summary_names_the_target_and_counts() -> None:
    assert kernels.summary().startswith(f"kernels={kernels.target()}; compiled=")


def test_the_build_runs_every_kernel_of_the_package(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from factorbox import kernels, precompile; "
        "precompile.run_every_kernel(Path(sys.argv[1])); "
        "print(kernels.never_called(kernels.imported_kernels()))"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.strip() == "[]"
