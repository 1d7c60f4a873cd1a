from __future__ import annotations

import pytest

from factorbox.data.fields import shortened


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("é\n", r"'é\n'"),
        ("\udcff", r"b'\xff'"),
        ("\ud800", r"'\ud800'"),
        ("a\ud800\udcff", r"'a\ud800\udcff'"),
        ("x" * 61, "'" + "x" * 60 + "'…"),
        ("\ud800" * 61, "'" + r"\ud800" * 60 + "'…"),
    ],
)
def test_any_value_is_quoted_as_text_that_can_be_written(value: str, shown: str) -> None:
    assert shortened(value) == shown
    assert shortened(value).encode("utf-8")
