from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factorbox.report.labels import item_labels, shortened, user_labels
from report_models_support import with_factors
from support import interactions_from_rows

INTERACTIONS = interactions_from_rows([[0, 1, 2, 3]], n_items=4)
ALL = np.arange(4)


def labels(tmp_path: Path, titles: list[str | None], *, distinct: bool = False, longest: int = 48) -> list[str]:
    model = with_factors(tmp_path, INTERACTIONS, item_factors=np.eye(4), titles=titles)
    return item_labels(model, ALL, distinct=distinct, longest=longest)


def test_an_item_is_called_by_its_title_and_without_one_by_its_id(tmp_path: Path) -> None:
    assert labels(tmp_path, ["Alien", None, "", " \n"]) == ["Alien", "i0001", "i0002", "i0003"]


def test_without_any_titles_items_are_called_by_their_ids(tmp_path: Path) -> None:
    model = with_factors(tmp_path, INTERACTIONS, item_factors=np.eye(4))
    assert item_labels(model, ALL[::-1]) == ["i0003", "i0002", "i0001", "i0000"]
    assert user_labels(model, np.array([0])) == ["u0000"]


def test_signs_of_markup_and_emoji_stay_as_they_are(tmp_path: Path) -> None:
    titles = ["<b>&amp;", '"Quoted"', "👩‍👩‍👧 family", "Amélie"]
    assert labels(tmp_path, list(titles)) == titles


def test_equal_labels_are_told_apart_where_they_have_to_be(tmp_path: Path) -> None:
    titles: list[str | None] = ["Twins", "Twins", "Twins (i0000)", "Other"]
    assert labels(tmp_path, titles) == titles
    told = labels(tmp_path, titles, distinct=True)
    assert told == ["Twins (i0000)", "Twins (i0001)", "Twins (i0000) #2", "Other"]


def test_titles_that_differ_only_where_they_are_cut_are_told_apart(tmp_path: Path) -> None:
    titles: list[str | None] = ["x" * 2000, "x" * 1999, "x" * 2000 + "y", None]
    assert len(set(labels(tmp_path, titles, distinct=True))) == 4
    assert {len(label) for label in labels(tmp_path, titles)[:3]} == {48}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Brazil", "Brazil"),
        ("a\tb\r\n c\u2028d", "a b c d"),
        ("\u202eevil\x00", "evil"),
        ("0123456789", "0123456789"),
        ("0123456789x", "012345678…"),
        ("01234567 9x", "01234567…"),
        ("\x07", ""),
        ("a" + "\u0301" * 100 + "b", "a\u0301\u0301b"),
        ("กี่ กี้", "กี่ กี้"),
    ],
)
def test_a_label_is_one_printable_line_of_limited_length(text: str, shown: str) -> None:
    assert shortened(text, longest=10) == shown
