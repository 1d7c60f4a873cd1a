from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

# What a virtual environment's python is asked in the set-up: its version, its pip, and to install.
PYTHON = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
  *"-m venv"*) [ -z "$NO_VENV" ] && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *--index-url*) [ -z "$NO_INDEX" ] ;;
  *+cpu) [ -z "$NO_CPU_BUILD" ] ;;
esac
"""


@pytest.fixture
def copy(tmp_path: Path, checkout: Path) -> Path:
    """A checkout with the files that the set-up reads, in a folder with a space, and nothing set up."""
    top = tmp_path / "a checkout"
    for name in (
        "pyproject.toml",
        "requirements.txt",
        "container/requirements.txt",
        "tests/requirements.txt",
        "local_test/set_up.sh",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / name, top / name)
    return top


def set_up(top: Path, **variables: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the set-up with a stand-in for Python, and return the calls of it."""
    programs, calls = top.parent / "bin", top.parent / "calls"
    programs.mkdir(exist_ok=True)
    calls.write_text("")
    python = programs / "python3.11"
    python.write_text(PYTHON)
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "CALLS": str(calls)}
    environment.pop("TORCH_INDEX", None)
    script = f"set -euo pipefail; . '{top}/local_test/set_up.sh'; set_up tests/requirements.txt"
    done = subprocess.run(
        ["bash", "-c", script], env={**environment, **variables}, cwd="/", capture_output=True, text=True
    )
    return done, calls.read_text().splitlines()


def installs(calls: list[str]) -> list[str]:
    return [call.partition(" install ")[2] for call in calls if " install " in call]


def test_the_first_run_makes_the_environment_and_installs_what_is_pinned(copy: Path) -> None:
    done, calls = set_up(copy, TORCH_INDEX="")
    assert done.returncode == 0, done.stderr
    assert f"-m venv {copy}/.venv" in calls
    assert installs(calls) == [
        "--no-deps torch==2.13.0",
        f"-r {copy}/requirements.txt",
        f"--no-build-isolation --no-deps --editable {copy}",
        f"-r {copy}/tests/requirements.txt",
    ]


def test_a_second_run_does_nothing(copy: Path) -> None:
    set_up(copy)
    done, calls = set_up(copy)
    assert (done.returncode, done.stdout, calls) == (0, "", [])


@pytest.mark.parametrize("changed", ["tests/requirements.txt", "container/requirements.txt", "pyproject.toml"])
def test_a_changed_requirement_is_installed(copy: Path, changed: str) -> None:
    set_up(copy)
    with (copy / changed).open("a") as file:
        file.write("# changed\n")
    _, calls = set_up(copy)
    assert installs(calls)


def test_a_run_that_failed_is_taken_up_again(copy: Path) -> None:
    done, _ = set_up(copy, NO_INDEX="1", NO_CPU_BUILD="1")
    assert done.returncode == 1
    done, calls = set_up(copy)
    assert done.returncode == 0
    assert f"-r {copy}/requirements.txt" in installs(calls)


def test_only_the_torch_line_comes_from_the_index_of_cpu_builds(copy: Path) -> None:
    _, calls = set_up(copy)
    from_index = [call for call in installs(calls) if "--index-url" in call]
    assert len(from_index) == 1
    assert from_index[0].endswith("--index-url https://download.pytorch.org/whl/cpu torch==2.13.0")


def test_where_the_index_fails_only_a_cpu_build_is_taken_from_elsewhere(copy: Path) -> None:
    done, calls = set_up(copy, NO_INDEX="1", TORCH_INDEX="http://127.0.0.1:9/simple")
    assert done.returncode == 0
    assert installs(calls)[1] == "--no-deps torch==2.13.0+cpu"
    assert "could not be installed from http://127.0.0.1:9/simple" in done.stderr


def test_where_no_cpu_build_is_found_it_says_what_to_set(copy: Path) -> None:
    done, calls = set_up(copy, NO_INDEX="1", NO_CPU_BUILD="1")
    assert done.returncode == 1
    assert "Set TORCH_INDEX" in done.stderr
    assert not any("requirements.txt" in call for call in installs(calls))


def test_a_python_without_venv_is_named_with_the_remedy(copy: Path) -> None:
    done, _ = set_up(copy, NO_VENV="1")
    assert done.returncode == 1
    assert "python3.11-venv" in done.stderr
    assert not (copy / ".venv").exists()


def test_a_missing_python_is_named_with_the_remedy(copy: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "cat", "cksum", "dirname"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    (copy.parent / "bin").mkdir()
    script = f"set -eu; . '{copy}/local_test/set_up.sh'; set_up"
    done = subprocess.run([tools / "bash", "-c", script], env={"PATH": str(tools)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No Python 3.11 was found" in done.stderr
