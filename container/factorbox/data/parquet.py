"""Interactions from Parquet files: the same columns and rules as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from factorbox.data.batches import Batch, Coded, make_batch
from factorbox.data.columns import Columns, ReadOptions, Role, find_columns
from factorbox.data.feedback import Feedback
from factorbox.data.fields import (
    TIME_RULE,
    all_epoch_microseconds,
    common_time_kind,
    id_fault,
    is_moment,
    iso_microseconds,
    shortened,
    time_kind,
)
from factorbox.data.files import Source, unreadable
from factorbox.data.weights import WeightRule
from factorbox.errors import UserError

_BATCH_ROWS = 1 << 20
_MICROSECONDS = MappingProxyType({"s": 1_000_000, "ms": 1_000, "us": 1})


def parse(source: Source, *, options: ReadOptions, feedback: Feedback, keep_times: bool) -> Iterator[Batch]:
    """Read one Parquet file.

    Parameters
    ----------
    feedback
        What the weights are taken for.
    keep_times
        Whether the batches hold times.

    Raises
    ------
    UserError
        For a damaged file, a column of another type, a null, or a value out of range, with its row from 1.
    PlatformError
        Where the file cannot be read.
    """
    try:
        with pa.parquet.ParquetFile(source.path) as file:
            columns = find_columns(file.schema_arrow.names, place=source.name, options=options, feedback=feedback)
            rule = WeightRule(feedback=feedback, min_rating=options.min_rating)
            reader = _Reader(source.name, columns=columns, rule=rule, keep_times=keep_times)
            wanted = [columns.name(role) for role in columns.positions]
            for block in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                if sorted(block.schema.names) != sorted(wanted):
                    raise UserError(f"{source.name} has nested columns named like {wanted}: write plain columns")
                yield reader.batch(block)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UserError(
            f"{source.name} is a broken Parquet file: write and upload it again ({_line(error)})"
        ) from error
    except UnicodeDecodeError as error:
        # pyarrow decodes nothing else than the names of all columns, at once.
        raise UserError(
            f"{source.name} has a column name that is not UTF-8: write the file with names in UTF-8"
        ) from error
    except OSError as error:
        # pyarrow reports damaged pages and compressed data as plain OSError without a number.
        if error.errno is None:
            raise UserError(
                f"{source.name} is a broken Parquet file: write and upload it again ({_line(error)})"
            ) from error
        raise unreadable(source.name, error) from error


class _Reader:
    """Turns the record batches of one file into checked batches."""

    def __init__(self, name: str, *, columns: Columns, rule: WeightRule, keep_times: bool) -> None:
        self._name = name
        self._columns = columns
        self._rule = rule
        self._keep_times = keep_times
        self._rows_before = 0
        self._time_kind = "any"

    def batch(self, block: pa.RecordBatch) -> Batch:
        columns = {role: block.column(self._columns.name(role)) for role in self._columns.positions}
        for role, column in columns.items():
            if column.null_count:
                row = pc.index(pc.is_null(column), True).as_py()
                raise self._error(role, "null", "every row needs a value; fill or remove the row", row=row)
        batch = make_batch(
            self._columns,
            users=self._ids("user", columns["user"]),
            items=self._ids("item", columns["item"]),
            weights=self._weights(columns["weight"]) if "weight" in columns else None,
            times=self._times(columns["time"]) if "time" in columns else None,
            to_microseconds=np.asarray,
            min_rating=self._rule.min_rating,
            keep_times=self._keep_times,
        )
        self._rows_before += len(block)
        return batch

    def _ids(self, role: Role, column: pa.Array) -> Coded:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.dictionary_decode(), kind.value_type
        if not (_is_text(kind) or pa.types.is_integer(kind)):
            raise self._wrong_type(role, column.type, "text or whole numbers")
        coded = Coded.from_dictionary(column.cast(pa.string()).dictionary_encode())
        bad = pc.or_(pc.equal(coded.texts, ""), pc.match_substring(coded.texts, "\0"))
        if pc.any(bad).as_py() or not _is_utf8(coded.texts):
            raise self._bad_id(role, coded)
        return coded

    def _bad_id(self, role: Role, coded: Coded) -> UserError:
        """Name the first row whose id is none."""
        faults = {
            code: (text, id_fault(text) or "an id is text without NUL; mend or remove the row")
            for code, text in enumerate(_decoded(coded.texts))
            if "\0" in text or id_fault(text)
        }
        row = int(np.flatnonzero(np.isin(coded.codes, list(faults)))[0])
        return self._error(role, *faults[int(coded.codes[row])], row=row)

    def _weights(self, column: pa.Array) -> NDArray[np.float64]:
        if not _is_numeric(column.type):
            raise self._wrong_type("weight", column.type, "numbers")
        weights = _floats(column)
        bad = np.flatnonzero(~self._rule.usable(weights))
        if len(bad):
            row = int(bad[0])
            raise self._error("weight", str(column[row].as_py()), self._rule.fault(float(weights[row])), row=row)
        return weights

    def _times(self, column: pa.Array) -> NDArray[np.int64]:
        """Return the times in microseconds."""
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return self._moments(column)
        if _is_text(column.type):
            return self._iso_times(_decoded(column))
        if not _is_numeric(column.type):
            raise self._wrong_type("time", column.type, "timestamps, numbers or ISO 8601 text")
        return self._epoch_times(_floats(column))

    def _moments(self, column: pa.Array) -> NDArray[np.int64]:
        # Dates become the coarsest timestamps that hold all of them, and nanoseconds are cut.
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("s" if pa.types.is_date32(column.type) else "ms"))
        elif column.type.unit == "ns":
            column = column.cast(pa.timestamp("us"), safe=False)
        unit = column.type.unit
        ticks: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
        if not all(is_moment(int(tick) * _MICROSECONDS[unit]) for tick in (ticks.min(), ticks.max())):
            row = next(row for row, tick in enumerate(ticks.tolist()) if not is_moment(tick * _MICROSECONDS[unit]))
            fault = "it lies outside the years 1 to 9999; mend the row, or remove the column if it is not needed"
            raise self._error("time", f"{ticks[row]} {unit}", fault, row=row)
        return ticks * _MICROSECONDS[unit]

    def _iso_times(self, texts: list[str]) -> NDArray[np.int64]:
        times = [iso_microseconds(text) for text in texts]
        if None in times:
            row = times.index(None)
            raise self._error("time", texts[row], TIME_RULE, row=row)
        return np.array(times, dtype=np.int64)

    def _epoch_times(self, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
        kind = common_time_kind(numbers)
        if kind is None or ("any" not in (kind, self._time_kind) and kind != self._time_kind):
            raise self._epoch_error(numbers)
        if kind != "any":
            self._time_kind = kind
        return all_epoch_microseconds(numbers, kind=self._time_kind)

    def _epoch_error(self, numbers: NDArray[np.float64]) -> UserError:
        """Name the first time that is none, or is not of the kind of those above it."""
        expected = self._time_kind
        for row, number in enumerate(numbers.tolist()):
            found = time_kind(number)
            if found is None:
                return self._error("time", str(number), TIME_RULE, row=row)
            if "any" not in (found, expected) and found != expected:
                break
            expected = found if found != "any" else expected
        fault = f"{expected} stand above it and this is {found}; write all times of a file the same way"
        return self._error("time", str(number), fault, row=row)

    def _wrong_type(self, role: Role, found: pa.DataType, wanted: str) -> UserError:
        return UserError(
            f"column {shortened(self._columns.name(role))} of {self._name} holds {found}, and the {role} column takes "
            f"{wanted}: write it as such"
        )

    def _error(self, role: Role, value: str, fault: str, *, row: int) -> UserError:
        return UserError(
            f"bad {role} {shortened(value)} in {self._name}, row {self._rows_before + row + 1:,}, column "
            f"{shortened(self._columns.name(role))}: {fault}"
        )


def _is_utf8(texts: pa.StringArray) -> bool:
    """Whether texts are what Arrow takes them for: Parquet readers do not look."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(texts: pa.Array) -> list[str]:
    """Return texts as the CSV parser does: bytes that are not UTF-8 become lone surrogates."""
    return [raw.decode("utf-8", "surrogateescape") for raw in texts.cast(pa.large_binary()).to_pylist()]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """Convert numbers of any type; 64-bit integers may be rounded."""
    return cast("NDArray[np.float64]", column.cast(pa.float64(), safe=False).to_numpy())


def _line(error: Exception) -> str:
    """Return the first line of a message of pyarrow."""
    return str(error).split("\n", 1)[0]
