"""The fields of a request, each declared once: its name, the values that it takes, what it means, an example.

Parsers, error messages, the README's table and `/openapi.json` all read them from here. Which fields go together is
said in `factorbox.serving.forms`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from factorbox.data.fields import MAX_WEIGHT
from factorbox.recommend.queries import DEFAULT_TOP_N, MAX_IDS, MAX_TOP_N, History
from factorbox.serving.values import JsonFields, JsonInteger, JsonNumber, as_text, quoted, shortened

JsonObject = dict[str, Any]

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_SIGNED_NUMBER = re.compile(f"-?{_NUMBER.pattern}")
# What JSON schema can say of weights that are texts: whole and decimal numbers, and powers of ten within the range.
_POSITIVE_TEXTS = r"0*[1-9][0-9]{0,37}(\.[0-9]+)?|0+\.0{0,36}[1-9][0-9]*|[1-9](\.[0-9]+)?[eE][+-]?[0-2]?[0-9]"
_UNSIGNED_TEXTS = r"0*[0-9]{1,38}(\.[0-9]+)?|[0-9](\.[0-9]+)?[eE][+-]?[0-2]?[0-9]"


class BadValueError(Exception):
    """A value that a field does not take.

    Attributes
    ----------
    problem
        What is wrong and how to mend it, to be read after the field and its value.
    value
        The value at fault, as the short text that an error quotes.
    place
        Where in the field it stands, such as `[3]`; empty for the whole field.
    """

    def __init__(self, problem: str, *, value: str, place: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.value = value
        self.place = place


class Kind(ABC):
    """What a field may hold: how it is read, and how it is described.

    Attributes
    ----------
    words
        The values in a few words, for a table.
    """

    words: ClassVar[str]

    @abstractmethod
    def read(self, value: object) -> Any:
        """Return the typed value.

        Parameters
        ----------
        value
            As a strict parser gives it: text, `JsonNumber`, True, False, None, a list or a `JsonFields`.

        Raises
        ------
        BadValueError
            Naming the value, its place and the remedy.
        """

    @abstractmethod
    def schema(self) -> JsonObject:
        """Return the JSON schema of the values."""

    def is_idle(self, value: object) -> bool:
        """Whether a typed value asks for nothing, so that the field may as well be left out."""
        return False


@dataclass(frozen=True)
class Id(Kind):
    """An id; `of` says whose, with its article.

    A JSON integer is an id by its decimal text; 1.0 and true are none.
    """

    of: str
    words = "id"

    def read(self, value: object) -> str:
        """Return the id as text."""
        if not isinstance(value, str) or (isinstance(value, JsonNumber) and not isinstance(value, JsonInteger)):
            raise BadValueError("is not an id: give a text or a whole number", value=as_text(value))
        if not value:
            raise BadValueError(f"is empty: give the id of {self.of}", value=value)
        if not _is_unicode(value):
            raise BadValueError("holds half of a surrogate pair: send valid Unicode text", value=as_text(value))
        return str(value)

    def schema(self) -> JsonObject:
        """Return the JSON schema of an id."""
        return {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]}


@dataclass(frozen=True)
class WholeNumber(Kind):
    """A whole number of at least 1, as a number or as text; whatever is larger than any catalogue is cut."""

    words = "whole number ≥ 1"

    def read(self, value: object) -> int:
        """Return the number."""
        number = value if isinstance(value, str) and _NUMBER.fullmatch(value) else "0"
        # Long rows of digits become a large or infinite float: both mean "all items".
        size = float(number)
        if size < 1 or not (number.isdecimal() or size.is_integer()):
            raise BadValueError(
                "is not a whole number of at least 1: give one, such as 10, or leave the field out",
                value=as_text(value),
            )
        return MAX_TOP_N if size > MAX_TOP_N else int(size)

    def schema(self) -> JsonObject:
        """Return the JSON schema of such a number."""
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^0*[1-9][0-9]*$"}]}


@dataclass(frozen=True)
class Switch(Kind):
    """True or false, also as text; `idle_when_false` where false is what a record without the field means."""

    idle_when_false: bool
    words = "true or false"

    def read(self, value: object) -> bool:
        """Return the position of the switch."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise BadValueError("is neither true nor false: give one of them, or leave the field out", value=as_text(value))

    def schema(self) -> JsonObject:
        """Return the JSON schema of both positions."""
        return one_position(True, False)

    def is_idle(self, value: object) -> bool:
        """Whether false is meant, and is the default."""
        return self.idle_when_false and value is False


@dataclass(frozen=True)
class Ids(Kind):
    """A list of item ids."""

    words = "list of item ids"

    def read(self, value: object) -> list[str]:
        """Return the ids as texts."""
        if not isinstance(value, list):
            raise BadValueError('is not a list of item ids: give one such as ["286", "268"]', value=as_text(value))
        _check_length(value)
        return _read_ids(value)

    def schema(self) -> JsonObject:
        """Return the JSON schema of a list of ids."""
        return {"type": "array", "items": ITEM.schema(), "maxItems": MAX_IDS}


@dataclass(frozen=True)
class Likings(Kind):
    """Item ids that a user likes, or the weight of each item id.

    A weight is any finite number here: which ones a model takes is its own affair
    (`factorbox.recommend.answering.Answering.misfit`).
    """

    words = "list of item ids that the user likes, or object item id → weight (its rating, for models of ratings)"

    def read(self, value: object) -> History:
        """Return the ids as texts, or the weights by id."""
        if isinstance(value, list):
            _check_length(value)
            return _read_ids(value)
        if not isinstance(value, JsonFields):
            raise BadValueError(
                'is neither a list nor an object: give item ids such as ["286", "268"], or their weights such as '
                '{"286": 2.5}',
                value=as_text(value),
            )
        if value.repeated is not None:
            raise BadValueError(
                "is there twice: give each item once",
                value=as_text(value[value.repeated]),
                place=place_of(value.repeated),
            )
        _check_length(value)
        return {_read_key(item_id): _read_weight(item_id, weight) for item_id, weight in value.items()}

    def schema(self) -> JsonObject:
        """Return the JSON schema of both forms."""
        return self.schema_from(-MAX_WEIGHT)

    def schema_from(self, minimum: float) -> JsonObject:
        """Return the JSON schema of both forms for a model whose weights are at least `minimum`."""
        texts = _POSITIVE_TEXTS if minimum > 0 else _UNSIGNED_TEXTS
        weight = {
            "anyOf": [
                {"type": "number", "minimum": minimum, "maximum": MAX_WEIGHT},
                {"type": "string", "pattern": f"^{'-?' if minimum < 0 else ''}({texts})$"},
            ]
        }
        return {
            "anyOf": [
                Ids().schema(),
                {
                    "type": "object",
                    "propertyNames": {"minLength": 1},
                    "additionalProperties": weight,
                    "maxProperties": MAX_IDS,
                },
            ]
        }


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes
    ----------
    kind
        The values that it takes.
    meaning
        What it says, in a sentence or two.
    example
        A value, as it stands in JSON.
    """

    kind: Kind
    meaning: str
    example: object


def one_position(*positions: bool) -> JsonObject:
    """Return the JSON schema of a switch that may only be in some positions."""
    words = ("true" if position else "false" for position in positions)
    pattern = "|".join("".join(f"[{letter.upper()}{letter}]" for letter in word) for word in words)
    return {"anyOf": [{"type": "boolean", "enum": [*positions]}, {"type": "string", "pattern": f"^({pattern})$"}]}


def _check_length(value: list[object] | JsonFields) -> None:
    if len(value) > MAX_IDS:
        raise BadValueError(
            f"has {len(value):,} items, and one list may have {MAX_IDS:,}: send fewer", value=as_text(value)
        )


def _read_ids(values: list[object]) -> list[str]:
    item_ids = []
    for position, value in enumerate(values):
        try:
            item_ids.append(ITEM.read(value))
        except BadValueError as bad:
            raise BadValueError(bad.problem, value=bad.value, place=f"[{position}]") from None
    return item_ids


def _read_key(item_id: str) -> str:
    if not item_id:
        raise BadValueError("is an empty key: give the id of an item", value=item_id)
    if not _is_unicode(item_id):
        raise BadValueError(
            "is a key that holds half of a surrogate pair: send valid Unicode text", value=as_text(item_id)
        )
    return item_id


def _read_weight(item_id: str, value: object) -> float:
    # The range is that of weights in training.
    if isinstance(value, str) and _SIGNED_NUMBER.fullmatch(value) and abs(weight := float(value)) <= MAX_WEIGHT:
        # -0.0 is a 0 like any other.
        return weight + 0.0
    raise BadValueError(
        f"is not a weight: give a number, of at most {MAX_WEIGHT:.1e}, or leave the item out",
        value=as_text(value),
        place=place_of(item_id),
    )


def place_of(item_id: str) -> str:
    """Return where in an object an item stands, to be read after the name of the field: `["50"]`."""
    return f"[{quoted(shortened(item_id))}]"


def _is_unicode(text: str) -> bool:
    """Whether a text is free of lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


ITEM = Id("an item")

FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "user_id": Field(
            Id("a user"),
            "A user of the training data, or an unknown one; with `history`, an unknown one is a label.",
            "685",
        ),
        "top_n": Field(
            WholeNumber(),
            f"How many are wanted; {DEFAULT_TOP_N} by default. Fewer come where fewer are left, never padding.",
            5,
        ),
        "exclude_seen": Field(
            Switch(idle_when_false=False),
            "Whether the items that the user has in the data, and those of `history` or `sequence`, are left out. "
            "`item_ids` are scored either way.",
            False,
        ),
        "include_items": Field(
            Ids(),
            "Only these items may be recommended. Unknown ids are ignored; an empty list gives an empty answer.",
            ["286", "268", "302"],
        ),
        "exclude_items": Field(Ids(), "These items are not recommended. Unknown ids are ignored.", ["286"]),
        "history": Field(
            Likings(),
            "What a user likes, or how the user rates it: the user is worked out anew from it, and nothing is stored. "
            "It is added to the stored history of a known `user_id`. Items of a list weigh 1 each and add up where "
            "repeated. For models of ratings each counts once, as an item that is rated well does, and a rating "
            "stands for the stored one. Unknown ids are ignored, and counted.",
            ["50", "181"],
        ),
        "sequence_id": Field(Id("a sequence"), "A label for `sequence`, which the answer repeats.", "visit-7"),
        "sequence": Field(
            Likings(), "The same as `history`, for the user who is labelled by `sequence_id`.", {"50": 2.5}
        ),
        "item_ids": Field(
            Ids(),
            "Score exactly these items, seen ones too, in this order. An unknown id keeps its place, without a score.",
            ["286", "268"],
        ),
        "item_id": Field(ITEM, "Items similar to this one are wanted.", "50"),
        "similar_users": Field(
            Switch(idle_when_false=True), "true: users like this one are wanted, in place of items.", True
        ),
        "explain": Field(
            WholeNumber(),
            "How many items of the history to name as reasons for each item; not for `mlp`, which has none. JSON "
            "answers only: in a CSV answer such a record is a bad one.",
            3,
        ),
        "titles": Field(
            Switch(idle_when_false=True),
            "true: add every column of the channel `items` to each item. JSON answers only.",
            True,
        ),
    }
)
"""The fields by name, in the order in which they are described."""
