from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from factorbox.report import vega
from support import CONTAINER

BUNDLE = "window.vegaEmbed = 1;"


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in which nothing has been made yet."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def test_the_converter_is_the_one_that_is_installed() -> None:
    requirements = (CONTAINER / "requirements.txt").read_text()
    assert f"vl-convert-python=={vega.CONVERTER} " in requirements


def test_a_bundle_that_is_kept_is_read_and_nothing_is_made(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vega.keep(BUNDLE, vega.bundle_path(prefix))
    monkeypatch.setattr(vega, "_made", None)
    assert vega.bundle() == BUNDLE


def test_it_is_made_once_and_kept_whole(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([BUNDLE])
    monkeypatch.setattr(vega, "_made", lambda: next(made))
    assert [vega.bundle(), vega.bundle()] == [BUNDLE, BUNDLE]
    folder = vega.bundle_path(prefix).parent
    assert [path.name for path in folder.iterdir()] == [vega.bundle_path(prefix).name]


def test_where_nothing_can_be_written_it_stays_in_memory(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vega, "_made", lambda: BUNDLE)
    (prefix / "share").write_text("not a folder")
    assert vega.bundle() == BUNDLE


def test_another_release_is_another_file(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vega.keep(BUNDLE, vega.bundle_path(prefix))
    monkeypatch.setattr(vega, "VEGA_LITE", "7.0")
    monkeypatch.setattr(vega, "_made", lambda: "newer")
    assert vega.bundle() == "newer"


def test_a_missing_converter_is_named_with_its_remedy(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = prefix / "python"
    without.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    without.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(without))
    with pytest.raises(RuntimeError, match=re.escape(f"pip install vl-convert-python=={vega.CONVERTER}")):
        vega.bundle()


def test_the_script_that_builds_the_image_keeps_what_the_package_reads(tmp_path: Path) -> None:
    alone = tmp_path / "vega.py"
    alone.write_bytes((CONTAINER / "factorbox/report/vega.py").read_bytes())
    # The same interpreter and packages under another prefix.
    program = f"import runpy, sys; sys.prefix = {str(tmp_path)!r}; runpy.run_path({str(alone)!r}, run_name='__main__')"
    subprocess.run([sys.executable, "-c", program], check=True)
    script = vega.bundle_path(tmp_path).read_text()
    assert "window.vegaEmbed=" in script
    assert "expressionInterpreter" in script
    assert len(script) < 1_000_000
