"""Fixtures for every test: a clean environment and seeded random numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("factorbox", deadline=None)
settings.load_profile("factorbox")

_CONTRACT_PREFIXES = (
    *("SAGEMAKER_", "SM_", "MODEL_SERVER_", "DEFAULT_"),
    *("BAD_RECORDS", "UNKNOWN_USERS", "TRAILING_", "CONSOLE"),
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of the contract leaks in from the shell, or from one test into another."""
    for name in list(os.environ):
        if name.startswith(_CONTRACT_PREFIXES):
            monkeypatch.delenv(name)
    yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)
