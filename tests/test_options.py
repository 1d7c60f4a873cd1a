"""Options: one declaration gives range checks, errors and tables."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from factorbox.errors import UserError
from factorbox.options import check_ranges, option, options_of


@dataclass(frozen=True, kw_only=True)
class Sample:
    whole: int = option(3, "A whole number.", minimum=1, maximum=100_000, aliases=("n", "m"))
    real: float | None = option(None, "A number.", above=0)
    word: str = option("a", "A word.", choices=("a", "b"))
    free: str = option("x", "Anything.")

    def __post_init__(self) -> None:
        check_ranges(self)


def test_options_are_listed_in_order_with_all_they_declare() -> None:
    declared = options_of(Sample)
    assert list(declared) == ["whole", "real", "word", "free"]
    assert declared["whole"].aliases == ("n", "m")
    assert declared["whole"].default == 3
    assert [entry.range_text() for entry in declared.values()] == ["≥ 1, ≤ 100,000", "> 0", "one of a, b", ""]


@pytest.mark.parametrize(
    "values",
    [{"whole": 0}, {"whole": 100_001}, {"real": 0.0}, {"real": float("nan")}, {"real": float("inf")}, {"word": "c"}],
    ids=str,
)
def test_a_value_out_of_range_is_refused_by_name(values: dict[str, object]) -> None:
    [name] = values
    with pytest.raises(UserError, match=f"^{name}=.* is out of range: give a value that is"):
        Sample(**values)  # type: ignore[arg-type]


def test_a_number_without_a_range_is_finite_all_the_same() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Unbounded:
        number: float = option(1.0, "Any number.")

    with pytest.raises(UserError, match=r"^number=nan is out of range: give a value that is a finite number$"):
        options_of(Unbounded)["number"].check(float("nan"))


def test_bounds_are_inclusive_and_above_is_not() -> None:
    assert Sample(whole=1, real=1e-9).whole == 1
    assert Sample(whole=100_000, word="b").word == "b"
