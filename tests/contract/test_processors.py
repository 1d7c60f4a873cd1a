from __future__ import annotations

import os
from pathlib import Path

import pytest

from factorbox.contract.processors import usable_processors


@pytest.fixture
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.usefixtures("eight_processors")
@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("20000 100000\n", 1),
        ("max 100000\n", 8),
        ("6400000 100000\n", 8),
        ("", 8),
        ("nonsense\n", 8),
        ("100000 0\n", 8),
    ],
)
def test_a_version_2_quota_lowers_the_affinity(tmp_path: Path, quota: str, processors: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)

    assert usable_processors(cgroup=tmp_path) == processors


@pytest.mark.usefixtures("eight_processors")
@pytest.mark.parametrize(("quota", "processors"), [("300000", 3), ("-1", 8)])
def test_a_version_1_quota_lowers_the_affinity(tmp_path: Path, quota: str, processors: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")

    assert usable_processors(cgroup=tmp_path) == processors


@pytest.mark.usefixtures("eight_processors")
def test_without_a_control_group_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_processors(cgroup=tmp_path / "none") == 8


def test_this_machine_has_at_least_one_processor() -> None:
    assert 1 <= usable_processors() <= len(os.sched_getaffinity(0))
