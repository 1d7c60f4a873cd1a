"""The image under test, named by FACTORBOX_IMAGE; with FACTORBOX_REQUIRE_DOCKER=1 nothing here may be skipped."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from docker_support import ANY_USER, base_folder, docker

_REQUIRED = os.environ.get("FACTORBOX_REQUIRE_DOCKER") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.docker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if _REQUIRED and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, where FACTORBOX_REQUIRE_DOCKER=1 forbids it: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def image() -> str:
    name = os.environ.get("FACTORBOX_IMAGE")
    if not name:
        pytest.skip("FACTORBOX_IMAGE names no image")
    if not shutil.which("docker"):
        pytest.skip("there is no docker command")
    docker("image", "inspect", name)
    return name


@pytest.fixture(scope="session")
def trained(image: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The base folder of a training job run under the tightest conditions, and its log."""
    base = base_folder(tmp_path_factory.mktemp("trained"))
    conditions = ("--read-only", "--network", "none", "--user", f"{ANY_USER}:{ANY_USER}")
    log = docker("run", "--rm", *conditions, "--volume", f"{base}:/opt/ml", image, "train")
    return base, log


@pytest.fixture(scope="session")
def model(trained: tuple[Path, str]) -> Path:
    return trained[0] / "model"
