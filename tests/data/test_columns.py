from __future__ import annotations

from typing import Any

import pytest

from factorbox.data.columns import SPELLINGS, ReadOptions, Role, find_columns
from factorbox.errors import UserError


def roles(header: str, **options: Any) -> dict[str, str]:
    columns = find_columns(header.split(","), place="part-1.csv, line 1", options=ReadOptions(**options))
    return {role: columns.name(role) for role in columns.positions}


@pytest.mark.parametrize("role", SPELLINGS)
def test_every_spelling_is_found_whatever_its_case_and_underscores(role: Role) -> None:
    others = {"user": "item", "item": "user"}.get(role, "user,item")
    for spelling in SPELLINGS[role]:
        camel = spelling.title().replace("_", "")
        for name in (spelling, spelling.upper(), camel, camel[0].lower() + camel[1:], spelling.replace("_", "")):
            assert roles(f"x,{others},{name}")[role] == name


def test_a_named_column_is_used_exactly_and_other_spellings_are_ignored() -> None:
    assert roles("user_id,customer_id,item", user_column="customer_id")["user"] == "customer_id"
    assert roles("Who,who,item", user_column="who")["user"] == "who"
    with pytest.raises(UserError, match=r"no column 'WHO' in part-1\.csv, line 1, which user_column names"):
        roles("who,item", user_column="WHO")


def test_a_column_named_for_one_role_is_not_found_for_another() -> None:
    assert roles("user,item,rating,timestamp", weight_column="timestamp") == {
        "user": "user",
        "item": "item",
        "weight": "timestamp",
    }


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (
            "usr_id,item",
            {},
            "no user column in part-1.csv, line 1: found 'usr_id', 'item'; rename 'usr_id' to user_id ",
        ),
        ("user_id,thing", {}, "rename one to item_id or set the hyperparameter item_column"),
        ("user,customer_id,item", {}, "2 user columns in part-1.csv, line 1: 'user' and 'customer_id'; choose one"),
        ("user,item,rating,rating", {}, "2 weight columns in part-1.csv, line 1: 'rating' and 'rating'"),
        ("a,a,item", {"user_column": "a"}, "2 user columns in part-1.csv, line 1: 'a' and 'a'; rename all but one"),
        ("user,itm", {"item_column": "item"}, "found 'user', 'itm'; did you mean 'itm'?"),
        ("196,242,3", {}, "no header in part-1.csv, line 1: found '196', '242', '3', which looks like data"),
        ("196\t242\t3", {}, "no header in part-1.csv, line 1"),
        ("user_id;item_id", {}, "set the hyperparameter delimiter to ';'"),
        ("user_id\titem_id", {}, "set the hyperparameter delimiter to 'tab'"),
        (
            "user_id,item_id",
            {"user_column": "item_id"},
            "'item_id' is the user column already, as user_column says: mend",
        ),
        ("user_id,itm", {"user_column": "itm"}, "found 'user_id', 'itm'; rename one to item_id or set"),
        ("\ufeffuser_id,item", {}, "remove the byte order mark before 'user_id': a file begins with one at most"),
        ("\ufeffwho,item", {"user_column": "who"}, "remove the byte order mark before 'who'"),
        ("\udcfcser,item", {}, "found b'\\xfcser', 'item'; the header is not UTF-8: save the file as UTF-8"),
        ("Gr\udcf6sse,item", {}, "the header is not UTF-8: save the file as UTF-8"),
        ("\udcfcser,item", {"user_column": "üser"}, "the header is not UTF-8: save the file as UTF-8"),
        ("usr_id,Gr\udcf6sse,item", {}, "rename 'usr_id' to user_id"),
        ("alice,book", {}, "if these are values, the header is missing: add a first line such as 'user_id,item_id'"),
        ("user,item", {"min_rating": 3}, "min_rating=3 needs a weight column, and there is none in part-1.csv"),
    ],
)
def test_headers_that_do_not_tell_are_refused_with_a_remedy(header: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        roles(header, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(("given", "character"), [(",", ","), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("|", "|")])
def test_delimiters_have_names(given: str, character: str) -> None:
    assert ReadOptions(delimiter=given).separator == character


@pytest.mark.parametrize("bad", ["", ",,", "é", '"', "\n", "\r", "\0", "a", "1"])
def test_characters_that_cannot_delimit_are_refused(bad: str) -> None:
    with pytest.raises(UserError, match="is no delimiter"):
        ReadOptions(delimiter=bad)


def test_options_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(UserError, match="user_column and item_column both name the column 'x'"):
        ReadOptions(user_column="x", item_column="x")
    with pytest.raises(UserError, match="timestamp_column is empty"):
        ReadOptions(timestamp_column="")
    with pytest.raises(UserError, match=r"user_column='\\ud800' holds half a character"):
        ReadOptions(user_column="\ud800")
    with pytest.raises(UserError, match="min_rating=nan"):
        ReadOptions(min_rating=float("nan"))
