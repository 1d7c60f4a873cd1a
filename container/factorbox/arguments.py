"""What callers in Python give, turned into the typed values that a query takes: ids, histories, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from factorbox.data.feedback import Feedback
from factorbox.data.fields import MAX_WEIGHT, is_unicode, shortened
from factorbox.errors import UserError
from factorbox.recommend.queries import MAX_TOP_N, History, Query
from factorbox.recommend.traits import value_words

Id = str | int
"""An id: a text, or a whole number, which stands for its decimal text."""

GivenHistory = Iterable[Id] | Mapping[str, float] | Mapping[int, float]
"""Item ids, or the weight or rating of each item id."""

GivenHistories = Mapping[str, GivenHistory] | Mapping[int, GivenHistory] | Iterable[GivenHistory | None]
"""Histories by label, or one after another; a pandas Series has its labels in its index."""

_SHOWN = 60
# As texts, because pandas, whose values two of them are, may not be there.
_MISSING = ("nan", "<NA>", "NaT")
_FLOAT_REMEDY = (
    "give a text or a whole number; pandas turns a column of whole numbers with gaps into floats: drop the gaps, then"
    " convert it with .astype(int), or read it as text"
)


class Items(NamedTuple):
    """The items that are asked about, by id."""

    labels: Sequence[str]

    def queries(self, start: int, stop: int, **wanted: Any) -> list[Query]:
        """Return the queries about some of them, all for the same (fields of `Query`)."""
        return [Query(item_id=item_id, **wanted) for item_id in self.labels[start:stop]]


class Users(NamedTuple):
    """The users that are asked about.

    Attributes
    ----------
    labels
        What each is called in an answer.
    histories
        What each is folded in from, None for nothing.
    named
        Whether the labels are ids of users, whose stored histories count; otherwise they only tell answers apart.
    """

    labels: Sequence[str]
    histories: Sequence[History | None]
    named: bool

    def queries(self, start: int, stop: int, **wanted: Any) -> list[Query]:
        """Return the queries about some of them, all for the same (fields of `Query`)."""
        users = zip(self.labels[start:stop], self.histories[start:stop], strict=True)
        if self.named:
            return [Query(user_id=label, history=history, **wanted) for label, history in users]
        return [Query(sequence_id=label, history=history, **wanted) for label, history in users]


def users_of(user_ids: Id | Iterable[Id], histories: GivenHistories | None, *, feedback: Feedback) -> Users:
    """Return the users of these ids, each with the history that is given beside it.

    `feedback` says which values a history may have.

    Raises
    ------
    UserError
        For something that is no id or no history, or a history of nobody.
    """
    labels = id_texts(user_ids, place="user_ids")
    if histories is None:
        return Users(labels, [None] * len(labels), named=True)
    given = _by_label(histories, feedback)
    if given is not None:
        if strangers := given.keys() - set(labels):
            stranger = min(strangers)
            raise UserError(
                f"histories has a history of {shortened(stranger)}, who is not among user_ids: add that user, or give"
                " histories without user_ids for new users"
            )
        return Users(labels, [given.get(label) for label in labels], named=True)
    listed = _listed(histories)
    if len(listed) != len(labels):
        raise UserError(
            f"histories has {len(listed)} entries for {len(labels)} user_ids: give one each, None for a user without,"
            " or a mapping of user id to history"
        )
    own = [
        None if one is None else history_of(one, place=f"histories[{k}]", feedback=feedback)
        for k, one in enumerate(listed)
    ]
    return Users(labels, own, named=True)


def new_users_of(histories: GivenHistories, *, feedback: Feedback) -> Users:
    """Return users who have nothing but these histories; where they have no labels, their positions are.

    Raises
    ------
    UserError
        For something that is no history.
    """
    given = _by_label(histories, feedback)
    if given is None:
        given = {
            str(k): history_of(one, place=f"histories[{k}]", feedback=feedback)
            for k, one in enumerate(_listed(histories))
        }
    return Users(list(given), list(given.values()), named=False)


def history_of(given: object, *, place: str, feedback: Feedback) -> History:
    """Return one history; `feedback` says which values it may have.

    Raises
    ------
    UserError
        For something that is none; `place` says where it stands.
    """
    if not isinstance(given, Mapping):
        return id_texts(_listed(given, place=place), place=place)
    weights: dict[str, float] = {}
    for item, value in given.items():
        item_id = id_text(item, place=f"an item of {place}")
        if item_id in weights:
            remedy = "add the two up" if feedback.kind == "implicit" else "keep one"
            raise UserError(f"{place} has the item {shortened(item_id)} twice, as text and as number: {remedy}")
        weights[item_id] = _value(value, place=f"{place}[{shortened(item_id)}]", feedback=feedback)
    return weights


def id_text(value: object, *, place: str) -> str:
    """Return an id as text.

    Raises
    ------
    UserError
        For a float, a bool, a missing value and anything else that is no id; `place` says where it stands.
    """
    text = as_id(value)
    if text is None:
        raise not_an_id(value, place=place)
    return text


def as_id(value: object) -> str | None:
    """Return an id as text, None for what is no id."""
    if isinstance(value, str):
        return str(value) if value and is_unicode(value) else None
    return str(int(value)) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None


def not_an_id(value: object, *, place: str) -> UserError:
    """Make the error for a value that is no id."""
    what = f"{place} is {shown(value)}"
    if isinstance(value, str):
        if not value:
            return UserError(f"{place} is an empty text: give an id")
        return UserError(f"{place} is {shortened(value)}, which holds half a character: give valid Unicode text")
    if value is None or str(value) in _MISSING:
        return UserError(f"{what}, a missing value: drop what has no id, as with .dropna()")
    if isinstance(value, float | np.floating):
        return UserError(f"{what}, a float, which is no id: {_FLOAT_REMEDY}")
    return UserError(f"{what}, of type {type(value).__name__}, which is no id: give a text or a whole number")


def id_texts(values: object, *, place: str) -> list[str]:
    """Return one id, or several, as texts.

    Raises
    ------
    UserError
        See `id_text`.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        return [id_text(values, place=place)]
    return [id_text(value, place=f"{place}[{k}]") for k, value in enumerate(_listed(values, place=place))]


def whole_number(value: object, *, place: str) -> int:
    """Return a number of wanted things; whatever is larger than any catalogue is cut.

    Raises
    ------
    UserError
        For what is no whole number of at least 1.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise UserError(f"{place} is {shown(value)}: give a whole number of at least 1")
    return min(int(value), MAX_TOP_N)


def switch(value: object, *, place: str) -> bool:
    """Return a truth value.

    Raises
    ------
    UserError
        For anything else, such as the text "false".
    """
    if not isinstance(value, bool | np.bool_):
        raise UserError(f"{place} is {shown(value)}: give True or False")
    return bool(value)


def shown(value: object) -> str:
    """Return a value as the short text that an error quotes."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text[:_SHOWN] + ("…" if len(text) > _SHOWN else "")


def _by_label(histories: Any, feedback: Feedback) -> dict[str, History] | None:
    """Return histories by label; None where they have none."""
    if hasattr(histories, "columns"):
        raise UserError(
            "histories is a table: give one history a user, such as"
            " histories=frame.groupby('user_id')['item_id'].agg(list)"
        )
    # A pandas Series has labels too, in its index; pandas itself may not be there.
    if not isinstance(histories, Mapping) and not (hasattr(histories, "items") and hasattr(histories, "index")):
        return None
    by_label: dict[str, History] = {}
    for label, history in histories.items():
        text = id_text(label, place="a label of histories")
        if text in by_label:
            raise UserError(f"histories has the label {shortened(text)} twice: give each user one history")
        by_label[text] = history_of(history, place=f"histories[{shortened(text)}]", feedback=feedback)
    return by_label


def _listed(values: object, *, place: str = "histories") -> list[Any]:
    """Return the elements of a list, an array, a Series or the like."""
    if hasattr(values, "columns"):
        raise UserError(f"{place} is a table: give one of its columns, such as frame['item_id']")
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise UserError(f"{place} is {shown(values)}, which is no list: give a list, such as ['50', '172']")
    return list(values)


def _value(value: Any, *, place: str, feedback: Feedback) -> float:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not feedback.minimum <= value <= MAX_WEIGHT:
        noun, remedy = value_words(feedback)
        raise UserError(f"{place} is {shown(value)}, which is no {noun}: {remedy}")
    return float(value)
