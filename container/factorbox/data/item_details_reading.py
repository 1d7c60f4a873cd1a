"""Reading what is known of items: CSV files with an item column, `available` perhaps, and texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from factorbox.data.columns import ReadOptions, find_item_column, normalized
from factorbox.data.csv_strict import next_header, records, wrong_number_of_fields
from factorbox.data.fields import id_fault, is_unicode, shortened
from factorbox.data.files import Source, files_below, kind_of, opened
from factorbox.data.item_details import AVAILABLE, ItemRows
from factorbox.errors import PlatformError, UserError

EXPECTED = "CSV files (UTF-8, optionally gzip) with a column item_id, and any others such as title and available"

_AVAILABLE_VALUES = MappingProxyType({"1": True, "true": True, "0": False, "false": False})
# Each field is an object until its batch is made into arrays.
_BATCH_FIELDS = 1 << 20


def read_items_channel(folder: Path, *, options: ReadOptions) -> ItemRows | None:
    """Read the channel of items, in any sub-folder; None where it is missing or empty.

    Raises
    ------
    UserError, PlatformError
        As `read_item_rows`; also where there is a file in the place of the folder, or nothing in it but what is
        skipped.
    """
    try:
        is_file, is_folder = folder.is_file(), folder.is_dir()
    except OSError as error:
        raise PlatformError(
            f"cannot read the channel {folder.name!r}: {error.strerror}; make it readable to the container's user"
        ) from None
    if is_file:
        raise UserError(f"the channel {folder.name!r} is a file: make it a folder, and put into it {EXPECTED}")
    files, skipped = files_below(folder) if is_folder else ([], [])
    if skipped and not files:
        # It was meant to say something; to skip all of it would recommend what is not available.
        raise UserError(
            f"the channel {folder.name!r} holds only names that begin with a dot or an underscore, such as"
            f" {shortened(min(skipped))}, which are skipped: rename them, or leave the channel out"
        )
    # A file of the training data may have the same name.
    sources = [Source(path=file.path, name=f"{folder.name}/{file.name}") for file in files]
    return read_item_rows(sources, options=options) if sources else None


def read_item_rows(sources: Sequence[Source], *, options: ReadOptions) -> ItemRows:
    """Read CSV files about items as one table.

    The result depends on the set of rows alone: not on the names of the files or the order of rows, save for the
    order of `ItemRows.item_ids`.

    Parameters
    ----------
    sources
        One file or more.
    options
        `item_column` counts for the files that have it, `delimiter` for those whose header it makes sense of: the
        others have the usual names, and commas.

    Raises
    ------
    UserError
        For the first thing that is wrong; the message names file, line, value and remedy.
    PlatformError
        Where a file cannot be read.
    """
    layouts: list[_Layout] = []
    blocks: list[_Block] = []
    for number, source in enumerate(sources):
        if kind_of(source, expected=EXPECTED) == "parquet":
            raise UserError(f"{source.name} is Parquet, which this channel does not take: give {EXPECTED}")
        layout, of_file = _read_file(source, number=number, options=options)
        if layouts:
            _check_same_columns(layout, layouts[0])
        layouts.append(layout)
        blocks += of_file
    # Of several orders of the columns always the same, whatever the names of the files.
    details = min(tuple(layout.details) for layout in layouts)
    texts = {
        name: pa.chunked_array([block.texts[name] for block in blocks], type=pa.large_string()).combine_chunks()
        for name in details
    }
    flags, flag_position = None, layouts[0].available
    if flag_position is not None:
        flags = pa.chunked_array([block.available for block in blocks], type=pa.bool_()).combine_chunks()
    ids = pa.chunked_array([block.item_ids for block in blocks], type=pa.large_string()).combine_chunks()
    coded = ids.dictionary_encode()
    codes: NDArray[np.int32] = coded.indices.to_numpy()
    # Codes count up in the order of the rows, so a row that repeats no other has a code above all before it.
    is_first = np.diff(np.maximum.accumulate(codes), prepend=-1) > 0
    first = np.flatnonzero(is_first)
    again = np.flatnonzero(~is_first)
    if len(again):
        values = texts if flag_position is None else {**texts, layouts[0].names[flag_position]: flags}
        _check_repeats(ids, values, again=again, first=first[codes[again]], places=_Places(sources, blocks))
        texts = {name: column.take(pa.array(first)) for name, column in texts.items()}
        flags = flags.take(pa.array(first)) if flags is not None else None
    return ItemRows(
        item_ids=coded.dictionary,
        columns=MappingProxyType(texts),
        available=flags,
        files=len(sources),
        rows=len(ids),
    )


@dataclass(frozen=True)
class _Layout:
    """Where a file keeps what."""

    file: str
    names: tuple[str, ...]
    item: int
    available: int | None

    @property
    def details(self) -> dict[str, int]:
        """The positions of the columns of text, by name."""
        return {name: k for k, name in enumerate(self.names) if k not in (self.item, self.available)}


@dataclass(frozen=True, eq=False)
class _Block:
    """Some rows of one file."""

    item_ids: pa.LargeStringArray
    texts: Mapping[str, pa.LargeStringArray]
    available: pa.BooleanArray | None
    lines: NDArray[np.int64]
    file: int


class _Places:
    """Finds the file and line of a row among those of all files."""

    def __init__(self, sources: Sequence[Source], blocks: Sequence[_Block]) -> None:
        self._sources = sources
        self._lines = np.concatenate([block.lines for block in blocks])
        self._files = np.concatenate([np.full(len(block.lines), block.file) for block in blocks])

    def of(self, row: int) -> str:
        return f"{self._sources[self._files[row]].name}, line {self._lines[row]}"


def _read_file(source: Source, *, number: int, options: ReadOptions) -> tuple[_Layout, list[_Block]]:
    delimiter = _delimiter(source, options=options)
    with opened(source) as stream:
        rows = records(stream, name=source.name, delimiter=delimiter)
        line, header = next_header(rows, name=source.name)
        layout = _layout(header, file=source.name, line=line, options=options)
        return layout, [
            _block(fields, lines=lines, number=number, layout=layout) for lines, fields in _batches(rows, layout=layout)
        ]


def _delimiter(source: Source, *, options: ReadOptions) -> str:
    """Choose the delimiter: the option's is that of the training data, and this file may have commas all the same."""

    def fits(delimiter: str) -> bool:
        try:
            with opened(source) as stream:
                _, header = next_header(records(stream, name=source.name, delimiter=delimiter), name=source.name)
            find_item_column(header, place=source.name, options=options)
        except UserError:
            return False
        return True

    # Where neither fits, the option's stands, and reading the file with it says what is wrong.
    return "," if options.separator != "," and not fits(options.separator) and fits(",") else options.separator


def _layout(header: list[str], *, file: str, line: int, options: ReadOptions) -> _Layout:
    place = f"{file}, line {line}"
    item = find_item_column(header, place=place, options=options)
    repeated = next((name for name, count in Counter(header).items() if count > 1), None)
    if repeated is not None:
        raise UserError(f"two columns {shortened(repeated)} in {place}: rename or remove one")
    for k, name in enumerate(header):
        if not name:
            raise UserError(
                f"column {k + 1} of {len(header)} has no name in {place}: name it or remove it (pandas writes such a "
                "column unless told index=False)"
            )
        if not is_unicode(name):
            raise UserError(f"the column name {shortened(name)} in {place} is not UTF-8: save the file as UTF-8")
    padded = next((name for name in header if name != name.strip() and normalized(name.strip()) == AVAILABLE), None)
    if padded is not None:
        # As a text it would go unseen, and what is not available be recommended.
        raise UserError(f"the column {shortened(padded)} in {place} has white space around {AVAILABLE}: remove it")
    flags = [k for k, name in enumerate(header) if k != item and normalized(name) == AVAILABLE]
    if len(flags) > 1:
        found = " and ".join(shortened(header[k]) for k in flags)
        raise UserError(f"{len(flags)} columns {AVAILABLE} in {place}: {found}; rename or remove all but one")
    return _Layout(file=file, names=tuple(header), item=item, available=flags[0] if flags else None)


def _check_same_columns(layout: _Layout, first: _Layout) -> None:
    for one, other in ((layout, first), (first, layout)):
        for name in one.details:
            if name not in other.details:
                raise UserError(
                    f"{one.file} has the column {shortened(name)} and {other.file} has none: give all files the same "
                    "columns"
                )
        if one.available is not None and other.available is None:
            raise UserError(
                f"{one.file} has the column {shortened(one.names[one.available])} and {other.file} has none: give all "
                "files one, or none"
            )


def _batches(
    rows: Iterator[tuple[int, list[str]]], *, layout: _Layout
) -> Iterator[tuple[NDArray[np.int64], list[tuple[str, ...]]]]:
    """Gather rows; yield the line of each, and their fields by column."""
    lines: list[int] = []
    batch: list[list[str]] = []
    most = max(1, _BATCH_FIELDS // len(layout.names))
    for line, fields in rows:
        if len(fields) != len(layout.names):
            raise wrong_number_of_fields(fields, wanted=len(layout.names), place=f"{layout.file}, line {line}")
        lines.append(line)
        batch.append(fields)
        if len(batch) == most:
            yield np.array(lines), list(zip(*batch, strict=True))
            lines, batch = [], []
    if batch:
        yield np.array(lines), list(zip(*batch, strict=True))


def _block(fields: list[tuple[str, ...]], *, lines: NDArray[np.int64], number: int, layout: _Layout) -> _Block:
    """Check the rows of a batch and turn them into arrays."""

    def error(what: str, k: int, row: int, fault: str) -> UserError:
        return UserError(
            f"bad {what} {shortened(fields[k][row])} in {layout.file}, line {lines[row]}, column "
            f"{shortened(layout.names[k])}: {fault}"
        )

    for row, text in enumerate(fields[layout.item]):
        if not (text and text.isascii()) and (fault := id_fault(text)):
            raise error("item", layout.item, row, fault)
    for k in layout.details.values():
        for row, text in enumerate(fields[k]):
            if not (text.isascii() or is_unicode(text)):
                raise error("text", k, row, "it is not UTF-8; save the file as UTF-8")
    flags = None
    if layout.available is not None:
        flags = [_AVAILABLE_VALUES.get(text.lower()) for text in fields[layout.available]]
        if None in flags:
            fault = "write 1 or true for an item that may be recommended, 0 or false for one that may not"
            raise error("value", layout.available, flags.index(None), fault)
    return _Block(
        item_ids=pa.array(fields[layout.item], type=pa.large_string()),
        texts={name: pa.array(fields[k], type=pa.large_string()) for name, k in layout.details.items()},
        available=pa.array(flags, type=pa.bool_()) if flags is not None else None,
        lines=lines,
        file=number,
    )


def _check_repeats(
    ids: pa.LargeStringArray,
    values: Mapping[str, pa.Array],
    *,
    again: NDArray[np.int64],
    first: NDArray[np.int64],
    places: _Places,
) -> None:
    """Refuse rows that say something else of their item than its first row does.

    Parameters
    ----------
    again, first
        Rows that repeat an item, and for each of them the first row of that item.
    """
    unlike = [
        pc.not_equal(column.take(pa.array(again)), column.take(pa.array(first))).to_numpy(zero_copy_only=False)
        for column in values.values()
    ]
    differs = reduce(np.logical_or, unlike, np.zeros(len(again), dtype=np.bool_))
    if not differs.any():
        return
    k = int(differs.argmax())
    name = next(name for name, column in zip(values, unlike, strict=True) if column[k])
    one, other = (str(values[name][int(row)].as_py()) for row in (first[k], again[k]))
    raise UserError(
        f"item {shortened(ids[int(again[k])].as_py())} has two values in column {shortened(name)}: {shortened(one)} in "
        f"{places.of(first[k])} and {shortened(other)} in {places.of(again[k])}; keep one row"
    )
