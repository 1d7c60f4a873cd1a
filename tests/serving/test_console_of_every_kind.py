"""The page in a real browser, over models that differ in what a score is and whether it has reasons."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pyarrow as pa
import pytest
from selenium import webdriver

from factorbox.data.item_details import ItemDetails
from serving.browser import Browser, chromium, serving, watched
from serving.saved_models import save_variant

TITLES = [f"Film {number}" for number in range(24)]
Open = Callable[[str], Browser]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Serve a model of a variant once it is asked for, and until the end."""
    served: dict[str, str] = {}
    with ExitStack() as stack:

        def address_of(variant: str) -> str:
            if variant not in served:
                folder = tmp_path_factory.mktemp("kind")
                details = ItemDetails({"title": pa.array(TITLES, pa.large_string())})
                save_variant(folder / "model", variant, item_details=details)
                served[variant] = stack.enter_context(serving(folder))
            return served[variant]

        yield address_of


@pytest.fixture
def page_of(driver: webdriver.Chrome, addresses: Callable[[str], str]) -> Iterator[Open]:
    with ExitStack() as stack:
        yield lambda variant: stack.enter_context(watched(driver, addresses(variant)))


def whole_sum(browser: Browser) -> tuple[list[float], str]:
    """Return all impacts on the first item, and what is said of their sum."""
    browser.click(".ranked > :first-child summary")
    browser.until(lambda: browser.all(".ranked > :first-child details .detail"))
    impacts = [text.replace("−", "-") for text in browser.texts(".ranked > :first-child .reason .number")]
    return list(map(float, impacts)), browser.text(".ranked > :first-child details .detail").replace("−", "-")


def score_of_first(browser: Browser) -> str:
    return browser.texts(".ranked > :first-child > .number[title]")[0]


def test_ratings_are_shown_in_their_own_unit_with_the_baseline_and_influences(page_of: Open) -> None:
    browser = page_of("explicit")
    browser.open("#user=u0001")

    assert browser.texts("aside .number")[0] == "rated 5"
    assert browser.texts("h3 span")[0] == "score"
    assert re.fullmatch(r"[0-5]\.[0-9]{3}", score_of_first(browser))
    title = browser.one(".ranked .reason .number").get_attribute("title")
    assert re.fullmatch(r"\S+, by an influence of \S+", str(title))
    impacts, said = whole_sum(browser)
    found = re.fullmatch(r"(\d+) impacts and the baseline \+(\S+) make (\S+)", said)
    assert found, said
    assert len(impacts) == int(found[1])
    # Each number is rounded.
    assert float(found[2]) + sum(impacts) == pytest.approx(float(found[3]), abs=0.01)
    assert found[3] == score_of_first(browser)


def test_probabilities_come_with_their_label_and_reasons_add_up_to_log_odds(page_of: Open) -> None:
    browser = page_of("explicit, logistic")
    browser.open("#history=i0001,i0005")

    assert browser.texts("h3 span")[0] == "probability → label"
    score, label = score_of_first(browser).split(" → ")
    assert label == str(int(float(score) >= 0.5))
    _, said = whole_sum(browser)
    found = re.search(r"make (\S+), the log-odds of (\S+)$", said)
    assert found, said
    assert found[2] == score
    assert 1 / (1 + math.exp(-float(found[1]))) == pytest.approx(float(score), abs=1e-3)
    browser.open("#item=i0001")
    assert "→" not in score_of_first(browser)


def test_a_model_without_reasons_shows_none_and_says_so(page_of: Open) -> None:
    browser = page_of("mlp")
    browser.open()
    assert browser.text("h2") == "What would it recommend?"
    for fragment in ("#user=u0001", "#history=i0001,i0005"):
        browser.open(fragment)
        assert "This algorithm has no reasons to show" in " ".join(browser.texts("main p"))
        assert browser.texts("h3")[0].startswith("Recommended") and "because" not in browser.texts("h3")[0]
        assert browser.texts(".why") == [] and browser.texts(".error") == []
        assert len(browser.texts(".ranked .name")) == 10


def test_known_items_are_marked_without_reasons_too(page_of: Open) -> None:
    browser = page_of("mlp")
    browser.open("#history=i0001,i0005")
    assert browser.texts(".mark") == []
    browser.click("main input")
    # Both are likely among the first ten, and are shown for sure once all are.
    browser.until(lambda: browser.all(".more"))
    while browser.all(".more"):
        rows = len(browser.texts(".ranked .name"))
        browser.click(".more")
        browser.until(lambda rows=rows: len(browser.texts(".ranked .name")) > rows)  # type: ignore[misc]
    assert len(browser.texts(".ranked .name")) == 24
    assert set(browser.texts(".row:has(.mark) .name")) == {"Film 1", "Film 5"}
    assert browser.texts(".mark") == ["known", "known"]
