from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from page_reader_support import PATIENCE
from serving.browser import chromium


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        started.set_script_timeout(PATIENCE)
        yield started
