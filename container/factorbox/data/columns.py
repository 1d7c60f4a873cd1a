"""Which column of a file plays which role, and the options that decide it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from factorbox.data.feedback import IMPLICIT, Feedback
from factorbox.data.fields import is_number, is_unicode, shortened
from factorbox.errors import UserError
from factorbox.options import check_ranges, option

Role = Literal["user", "item", "weight", "time"]

SPELLINGS: Mapping[Role, tuple[str, ...]] = MappingProxyType(
    {
        "user": ("user_id", "user", "customer_id"),
        "item": ("item_id", "item", "movie_id", "product_id"),
        "weight": ("total_interactions", "weight", "rating", "star_rating"),
        "time": ("timestamp", "unix_timestamp"),
    }
)
"""The column names that are found for each role; case and underscores are ignored."""

_REQUIRED: tuple[Role, ...] = ("user", "item")
_DELIMITER_NAMES = MappingProxyType({"tab": "\t", "\\t": "\t"})
_DELIMITERS = ",;\t|"
_SHOWN_COLUMNS = 8
_BOM = "\ufeff"
_SAVE_AS_UTF8 = "the header is not UTF-8: save the file as UTF-8"


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How training data are read.

    Raises
    ------
    UserError
        For a delimiter that is none, a column without a name or with one that is no text, one column in two roles.
    """

    user_column: str | None = option(None, "Column with the user ids, where none of the usual names is used.")
    item_column: str | None = option(None, "Column with the item ids, where none of the usual names is used.")
    weight_column: str | None = option(None, "Column with weights, counts or ratings.")
    timestamp_column: str | None = option(None, "Column with the time of each row.")
    delimiter: str = option(",", "Character between the fields of a CSV file; `tab` for a tab.")
    min_rating: float | None = option(None, "Rows whose weight is below this value are dropped.")

    def __post_init__(self) -> None:
        check_ranges(self)
        if not _is_delimiter(self.separator):
            raise UserError(
                f"delimiter={self.delimiter!r} is no delimiter: give one ASCII character that is no letter, digit, "
                "quotation mark or line ending, such as ',', ';', '|' or 'tab'"
            )
        roles: dict[str, Role] = {}
        for role, column in self.named_columns.items():
            if not column:
                raise UserError(f"{hyperparameter(role)} is empty: give the name of a column, or leave it out")
            if not is_unicode(column):
                raise UserError(
                    f"{hyperparameter(role)}={column!r} holds half a character (a lone surrogate), which no column "
                    "name does: give the name as the header has it, in UTF-8"
                )
            if column in roles:
                raise UserError(
                    f"{hyperparameter(roles[column])} and {hyperparameter(role)} both name the column {column!r}: "
                    "give each its own column"
                )
            roles[column] = role

    @property
    def separator(self) -> str:
        """The delimiter itself, where the option gives its name."""
        return _DELIMITER_NAMES.get(self.delimiter.lower(), self.delimiter)

    @property
    def named_columns(self) -> dict[Role, str]:
        """The columns that the options name."""
        columns: dict[Role, str | None] = {
            "user": self.user_column,
            "item": self.item_column,
            "weight": self.weight_column,
            "time": self.timestamp_column,
        }
        return {role: column for role, column in columns.items() if column is not None}


@dataclass(frozen=True)
class Columns:
    """Where a file keeps each role.

    Attributes
    ----------
    names
        All column names of the file.
    positions
        Position of the column of each role that the file has; user and item are always there.
    """

    names: tuple[str, ...]
    positions: Mapping[Role, int]

    def name(self, role: Role) -> str:
        """Return the name of the column of a role."""
        return self.names[self.positions[role]]


def hyperparameter(role: Role) -> str:
    """Return the name of the option that names the column of a role."""
    return "timestamp_column" if role == "time" else f"{role}_column"


def normalized(name: str) -> str:
    """Fold the differences between spellings that do not count."""
    return name.lower().replace("_", "")


def find_columns(names: Sequence[str], *, place: str, options: ReadOptions, feedback: Feedback = IMPLICIT) -> Columns:
    """Find the roles among the column names of one file.

    Parameters
    ----------
    names
        The header.
    place
        File and line of the header, for errors.
    feedback
        What the weights are taken for, which decides whether there must be any.

    Raises
    ------
    UserError
        Where user or item has no column, or the weight that `min_rating` or the feedback needs; where a role has two,
        or a named column does not exist.
    """
    named = options.named_columns
    positions: dict[Role, int] = {}
    for role in SPELLINGS:
        found = [k for k, name in enumerate(names) if _plays(role, name, named=named)]
        if len(found) > 1:
            raise UserError(_two_columns(role, names, found, place=place, named=role in named))
        if found:
            positions[role] = found[0]
        elif role in named or role in _REQUIRED:
            raise UserError(_missing(role, names, place=place, options=options))
    if options.min_rating is not None and "weight" not in positions:
        raise UserError(
            f"min_rating={options.min_rating:g} needs a weight column, and there is none in {place}: found "
            f"{_listed(names)}; name one with the hyperparameter weight_column, or leave min_rating out"
        )
    if feedback.needs_weights and "weight" not in positions:
        rest = [name for k, name in enumerate(names) if k not in positions.values()]
        raise UserError(
            f"no column with ratings in {place}: found {_listed(names)}; {_ratings_remedy(rest)}, or choose an "
            "algorithm that needs no ratings, such as als"
        )
    return Columns(names=tuple(names), positions=MappingProxyType(positions))


def find_item_column(names: Sequence[str], *, place: str, options: ReadOptions) -> int:
    """Find the item column of a file that has no users: the one that the options name, where it is there.

    Parameters
    ----------
    names, place
        As in `find_columns`.

    Raises
    ------
    UserError
        Where there is none, or two.
    """
    named: dict[Role, str] = {}
    if options.item_column is not None and options.item_column in names:
        named["item"] = options.item_column
    found = [k for k, name in enumerate(names) if _plays("item", name, named=named)]
    if len(found) > 1:
        raise UserError(_two_columns("item", names, found, place=place, named=bool(named)))
    if not found:
        raise UserError(f"no item column in {place}: found {_listed(names)}; {_item_column_remedy(names)}")
    return found[0]


def _is_delimiter(text: str) -> bool:
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in '"\r\n\0'


def _listed(names: Sequence[str]) -> str:
    shown = [shortened(name) for name in names[:_SHOWN_COLUMNS]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else "")


def _two_columns(role: Role, names: Sequence[str], found: list[int], *, place: str, named: bool) -> str:
    columns = " and ".join(shortened(names[k]) for k in found)
    remedy = "rename all but one" if named else f"choose one with the hyperparameter {hyperparameter(role)}"
    return f"{len(found)} {role} columns in {place}: {columns}; {remedy}"


def _missing(role: Role, names: Sequence[str], *, place: str, options: ReadOptions) -> str:
    """Write the error for a role without column."""
    named = options.named_columns
    if not names:
        return f"no columns in {place}: give it a user and an item column, such as user_id and item_id"
    remedy = _layout_remedy(role, names, options=options)
    if remedy is None and role in named:
        what = f"no column {shortened(named[role])} in {place}, which {hyperparameter(role)} names"
        return f"{what}: found {_listed(names)}; {_named_remedy(named[role], names)}"
    if remedy is None and _looks_like_data(names):
        return (
            f"no header in {place}: found {_listed(names)}, which looks like data; add a first line with column names, "
            "such as 'user_id,item_id', and set the hyperparameter delimiter where it is no comma"
        )
    return f"no {role} column in {place}: found {_listed(names)}; {remedy or _naming_remedy(role, names, named=named)}"


def _layout_remedy(role: Role, names: Sequence[str], *, options: ReadOptions) -> str | None:
    """Say what to do about a header that is there, but not to be recognized."""
    bare = names[0].lstrip(_BOM)
    if bare != names[0] and _plays(role, bare, named=options.named_columns):
        return f"remove the byte order mark before {shortened(bare)}: a file begins with one at most"
    other = _other_delimiter(names, options=options)
    if other is not None:
        shown = "tab" if other == "\t" else other
        return f"set the hyperparameter delimiter to {shown!r}"
    return None


def _item_column_remedy(names: Sequence[str]) -> str:
    """Say what to do where a file that has no users has no item column."""
    usual = ReadOptions()
    if _other_delimiter(names, options=usual) is not None:
        # Not with the hyperparameter: it is right for the training data.
        return "separate its fields by commas"
    # A title is spelled much like an item, and is none.
    near = _near_spelling("item", [name for name in names if normalized(name) != "title"])
    if _hidden_by_encoding(near, names):
        return _SAVE_AS_UTF8
    rename = f"rename {'the one with the item ids' if near is None else shortened(near)} to item_id"
    return _layout_remedy("item", names, options=usual) or f"{rename}, and add a header where there is none"


def _named_remedy(wanted: str, names: Sequence[str]) -> str:
    """Say what to do where the column that an option names is missing."""
    near = next(iter(difflib.get_close_matches(wanted, names, n=1)), None)
    if _hidden_by_encoding(near, names):
        return _SAVE_AS_UTF8
    return "give a column that every file has" if near is None else f"did you mean {shortened(near)}?"


def _naming_remedy(role: Role, names: Sequence[str], *, named: Mapping[Role, str]) -> str:
    """Say what to do where no column has one of the usual names."""
    key, spelling = hyperparameter(role), SPELLINGS[role][0]
    for other, column in named.items():
        if column in names and _plays(role, column, named={}):
            return (
                f"{shortened(column)} is the {other} column already, as {hyperparameter(other)} says: "
                f"mend that, or set the hyperparameter {key} too"
            )
    near = _near_spelling(role, [name for name in names if name not in named.values()])
    if _hidden_by_encoding(near, names):
        return _SAVE_AS_UTF8
    if near is not None:
        return f"rename {shortened(near)} to {spelling} or set the hyperparameter {key} to {shortened(near)}"
    remedy = f"rename one to {spelling} or set the hyperparameter {key}"
    if any(_plays(some, name, named=named) for some in SPELLINGS for name in names):
        return remedy
    return f"{remedy}; if these are values, the header is missing: add a first line such as 'user_id,item_id'"


def _ratings_remedy(names: Sequence[str]) -> str:
    """Say how a column of ratings is found, given the columns without a role."""
    near = _near_spelling("weight", names)
    if _hidden_by_encoding(near, names):
        return _SAVE_AS_UTF8
    if near is not None:
        return f"rename {shortened(near)} to rating or set the hyperparameter weight_column to {shortened(near)}"
    return "name theirs rating, or set the hyperparameter weight_column to its name"


def _plays(role: Role, name: str, *, named: Mapping[Role, str]) -> bool:
    """Whether a column of this name is found for a role."""
    if role in named:
        return name == named[role]
    return normalized(name) in map(normalized, SPELLINGS[role]) and name not in named.values()


def _hidden_by_encoding(near: str | None, names: Sequence[str]) -> bool:
    """Whether the wanted column may be one whose name is not UTF-8; `near` is the name most like it."""
    return not is_unicode(near) if near is not None else not all(is_unicode(name) for name in names)


def _looks_like_data(names: Sequence[str]) -> bool:
    """Whether the fields of a header are numbers, under one delimiter or another."""
    if len(names) == 1:
        names = max((names[0].split(delimiter) for delimiter in _DELIMITERS), key=len)
    return all(is_number(name) for name in names)


def _near_spelling(role: Role, names: Sequence[str]) -> str | None:
    """Return the name that is nearest to a spelling of a role, where one is near."""
    by_normalized = {normalized(name): name for name in reversed(names)}
    best: tuple[float, str] | None = None
    for spelling in SPELLINGS[role]:
        for near in difflib.get_close_matches(normalized(spelling), by_normalized, n=1):
            likeness = difflib.SequenceMatcher(None, normalized(spelling), near).ratio()
            if best is None or likeness > best[0]:
                best = likeness, by_normalized[near]
    return None if best is None else best[1]


def _other_delimiter(names: Sequence[str], *, options: ReadOptions) -> str | None:
    """Find the delimiter that a header of one field has in truth."""
    if len(names) != 1:
        return None
    spellings = {normalized(spelling) for role in _REQUIRED for spelling in SPELLINGS[role]}
    spellings |= {normalized(name) for name in options.named_columns.values()}
    for delimiter in _DELIMITERS:
        parts = names[0].split(delimiter)
        if len(parts) > 1 and any(normalized(part) in spellings for part in parts):
            return delimiter
    return None
