"""Models on disk for the tests of their files."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifact_support import save, save_rich, small_interactions
from factorbox.data.interactions import Interactions


@pytest.fixture
def interactions() -> Interactions:
    return small_interactions()


@pytest.fixture
def rich_folder(tmp_path: Path) -> Path:
    save_rich(tmp_path / "rich", small_interactions())
    return tmp_path / "rich"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "model", small_interactions())
    return tmp_path / "model"
