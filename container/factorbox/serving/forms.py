"""Which fields of a request go together: a table, from which the checks, the README and `/openapi.json` are made."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from factorbox.serving.fields import FIELDS


@dataclass(frozen=True)
class Subject:
    """For whom, or like what: one of these a record.

    Attributes
    ----------
    needs
        The fields that have to be there, all of them.
    takes
        The fields that may be beside them.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All its fields."""
        return self.needs + self.takes


@dataclass(frozen=True)
class Form:
    """What can be asked for.

    Attributes
    ----------
    wanted
        In a few words.
    sign
        The field that asks for it; None where it is asked for by none.
    subjects
        For whom it can be asked; a record has exactly one of them.
    takes
        The fields that may be there beside sign and subject.
    """

    wanted: str
    sign: str | None
    subjects: tuple[Subject, ...]
    takes: tuple[str, ...]

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Every field that a record of this form may have, each once."""
        sign = () if self.sign is None else (self.sign,)
        of_subjects = (name for subject in self.subjects for name in subject.fields)
        return tuple(dict.fromkeys([*sign, *of_subjects, *self.takes]))

    def needs_for(self, subject: Subject) -> tuple[str, ...]:
        """Return the fields that have to be there where it is asked for a subject."""
        sign = () if self.sign is None or self.sign in subject.needs else (self.sign,)
        return subject.needs + sign


USERS = (
    Subject(needs=("user_id",), takes=("history",)),
    Subject(needs=("sequence_id", "sequence")),
    Subject(needs=("history",)),
)
"""How a user is named or described."""

FORMS = (
    Form(
        "similar items",
        sign="item_id",
        subjects=(Subject(needs=("item_id",)),),
        takes=("top_n", "include_items", "exclude_items", "titles"),
    ),
    Form("similar users", sign="similar_users", subjects=USERS[:1], takes=("top_n",)),
    Form("scores of given items", sign="item_ids", subjects=USERS, takes=("exclude_seen", "explain", "titles")),
    Form(
        "recommendations",
        sign=None,
        subjects=USERS,
        takes=("top_n", "exclude_seen", "include_items", "exclude_items", "explain", "titles"),
    ),
)
"""What can be asked for. A record is of the first form whose sign it has."""

SUBJECT_FIELDS = frozenset(name for form in FORMS for subject in form.subjects for name in subject.fields)
"""Every field that says whom a record is for; a good record has one of them."""


class Misfit(NamedTuple):
    """Fields that do not make a request together.

    Attributes
    ----------
    field
        The one to name with its value; None where something is missing altogether.
    problem
        What is wrong and how to mend it, to be read after the field and its value.
    """

    field: str | None
    problem: str


# As many sets of fields as there can be: 2 ** 13.
@lru_cache(maxsize=1 << 13)
def misfit_of(given: frozenset[str]) -> Misfit | None:
    """Return why fields do not go together, None where they do.

    Parameters
    ----------
    given
        Names of fields of one record, without those that ask for nothing (`Kind.is_idle`).
    """
    form = next(form for form in FORMS if form.sign is None or form.sign in given)
    strangers = given.difference(form.fields)
    if strangers and form.sign is not None:
        partners = _list((name for name in form.fields if name != form.sign), "and")
        return Misfit(
            next(name for name in FIELDS if name in strangers),
            f"does not go with {form.sign}: leave one of them out ({form.sign} goes with {partners})",
        )
    named = [name for name in dict.fromkeys(name for user in form.subjects for name in user.fields) if name in given]
    if not named:
        if form.sign is None:
            every = [subject for form in reversed(FORMS) for subject in form.subjects]
            return Misfit(None, f'has no subject: give {_either(every)}, as in {{"user_id": "123"}}')
        return Misfit(form.sign, f"is for nobody: add {_either(form.subjects)}")
    for name, other in itertools.combinations(named, 2):
        if not any({name, other} <= {*subject.fields} for subject in form.subjects):
            return Misfit(other, f"does not go with {name}: leave one of them out, since a record is about one user")
    if any(given.issuperset(subject.needs) for subject in form.subjects):
        return None
    subject = next(subject for subject in form.subjects if {*named} <= {*subject.fields})
    missing = _list((name for name in subject.needs if name not in given), "and")
    others = [other for other in form.subjects if other is not subject]
    instead = f", or say whom it is for by {_either(others)} instead" if others else ""
    return Misfit(named[0], f"needs {missing} beside it: add it{instead}")


def _either(subjects: Sequence[Subject]) -> str:
    return _list(dict.fromkeys(" with ".join(subject.needs) for subject in subjects), "or")


def _list(names: Iterable[str], last: str) -> str:
    """Join names as prose does: a, b or c."""
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end
