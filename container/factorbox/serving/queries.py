"""One record of a request: what it asks for, or what is wrong with it."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from factorbox.recommend.queries import Queries, Query
from factorbox.serving.fields import FIELDS, BadValueError
from factorbox.serving.forms import Misfit, misfit_of
from factorbox.serving.values import Bare, JsonFields, as_text, quoted, shortened

LABELS = ("user_id", "sequence_id", "item_id")
"""The fields whose id an answer repeats, the first that is there."""


class BadRecord(NamedTuple):
    """A record that cannot be answered.

    Attributes
    ----------
    problem
        What is wrong and how to mend it, to be read after the field and its value.
    field
        The field at fault, None where the record as a whole is; with the place in it, such as `history[3]`.
    value
        The value at fault as text, shortened; None where it is missing.
    label
        The first of `LABELS` that has a good id, and that id; None where none has.
    """

    problem: str
    field: str | None = None
    value: str | None = None
    label: tuple[str, str] | None = None

    def message(self, number: int) -> str:
        """Say everything in one line; `number` counts the records of a request from 1."""
        parts = [] if self.field is None else [quoted(Bare(self.field))]
        parts += [] if self.value is None else [quoted(self.value)]
        return f"record {number}: {' '.join([*parts, self.problem])}"


Record = Query | BadRecord

NOTHING = Query(item_ids=())
"""Stands where a bad record stood: no rows."""


@dataclass(frozen=True, eq=False)
class Records:
    """The records of a body, in order.

    Attributes
    ----------
    queries
        What they ask; in the place of a bad record stands `NOTHING`.
    bad
        The bad records by position.
    """

    queries: Queries
    bad: Mapping[int, BadRecord]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Self:
        """Lay records out."""
        return cls(
            Queries.of([NOTHING if isinstance(record, BadRecord) else record for record in records]),
            {position: record for position, record in enumerate(records) if isinstance(record, BadRecord)},
        )

    def __len__(self) -> int:
        return len(self.queries)

    def listed(self) -> list[Record]:
        """Return them one by one."""
        return [self.bad.get(position) or query for position, query in enumerate(self.queries)]


def record_from(fields: Mapping[str, object]) -> Record:
    """Check the fields of one record.

    Values are text, `JsonNumber`, True, False, None, lists or `JsonFields`, as a strict parser gives them.
    """
    found = _checked(fields)
    return found if isinstance(found, Query) else found._replace(label=_label(fields))


def query_or_misfit(values: dict[str, Any]) -> Query | Misfit:
    """Make a query of typed values by field, which must be names of `FIELDS`."""
    if misfit := misfit_of(frozenset(name for name, value in values.items() if not FIELDS[name].kind.is_idle(value))):
        return misfit
    if "sequence" in values:
        values["history"] = values.pop("sequence")
    return Query(**values)


def until_bad(records: Iterable[Record], *, stop_at_bad: bool) -> list[Record]:
    """List records, up to the first bad one where nothing after it matters."""
    if not stop_at_bad:
        return list(records)
    listed: list[Record] = []
    for record in records:
        listed.append(record)
        if isinstance(record, BadRecord):
            break
    return listed


def _checked(fields: Mapping[str, object]) -> Record:
    """Check names, then values in the order of `FIELDS`, then what goes together; a bad record has no label yet."""
    if isinstance(fields, JsonFields) and fields.repeated is not None:
        return BadRecord("is there twice: give each field once", field=shortened(fields.repeated))
    for name, value in fields.items():
        if name not in FIELDS:
            return BadRecord(_unknown(name), field=shortened(name), value=as_text(value))
    values: dict[str, Any] = {}
    for name, field in FIELDS.items():
        if name in fields:
            try:
                values[name] = field.kind.read(fields[name])
            except BadValueError as bad:
                return BadRecord(bad.problem, field=name + bad.place, value=bad.value)
    found = query_or_misfit(values)
    if isinstance(found, Query):
        return found
    return BadRecord(
        found.problem, field=found.field, value=None if found.field is None else as_text(fields[found.field])
    )


def _label(fields: Mapping[str, object]) -> tuple[str, str] | None:
    repeated = fields.repeated if isinstance(fields, JsonFields) else None
    for name in LABELS:
        if name in fields and name != repeated:
            try:
                return name, FIELDS[name].kind.read(fields[name])
            except BadValueError:
                # Another field is the one to be known by.
                continue
    return None


def _unknown(name: str) -> str:
    return _unknown_shortened(shortened(name))


# A payload that was written wrongly has the same wrong name in every line.
@functools.lru_cache(maxsize=256)
def _unknown_shortened(name: str) -> str:
    near = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(FIELDS)}"
    return f"is an unknown field: {hint}"
