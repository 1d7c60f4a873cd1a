"""The files of a channel: which ones count, what they are, and how they are opened."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal, cast

from factorbox.errors import PlatformError, UserError

Kind = Literal["csv", "parquet"]

EXPECTED = (
    "CSV files (UTF-8, optionally gzip) or Parquet files with the columns user_id and item_id, and optionally "
    "a weight and a timestamp"
)

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_TAR, _TAR_POSITION = b"ustar", 257
# What people put into a channel by mistake, and what they should do about it.
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (or an Excel workbook): unpack it, or export it as CSV"),
    (b"BZh", "compressed with bzip2: unpack it, or use gzip"),
    (b"\xfd7zXZ\x00", "compressed with xz: unpack it, or use gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it, or use gzip"),
    (b"\x04\x22\x4d\x18", "compressed with lz4: unpack it, or use gzip"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy: unpack it, or use gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"ARROW1", "an Arrow file: write it as Parquet or CSV"),
    (b"Obj\x01", "an Avro file: write it as Parquet or CSV"),
    (b"%PDF-", "a PDF document: export the table as CSV"),
    (b"SQLite format 3\x00", "an SQLite database: export the table as CSV"),
    (b"\xff\xfe\0\0", "UTF-32 text: save it as UTF-8"),
    (b"\0\0\xfe\xff", "UTF-32 text: save it as UTF-8"),
    (b"\xff\xfe", "UTF-16 text: save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text: save it as UTF-8"),
)
# The same without a mark of their own: some ASCII characters, or the begin of a JSON value, are enough to tell.
_FOREIGN_LOOKS = MappingProxyType(
    {
        re.compile(rb"([\t\r\n -~]\0){4}|(\0[\t\r\n -~]){4}"): "UTF-16 text: save it as UTF-8",
        re.compile(rb"([\t\r\n -~]\0{3}){2}|(\0{3}[\t\r\n -~]){2}"): "UTF-32 text: save it as UTF-8",
        re.compile(rb'(\xef\xbb\xbf)?\s*(\[\s*)*[\[{]\s*"'): "JSON: write it as CSV or Parquet",
    }
)
_HEAD_BYTES = 512
_SHOWN_NAMES = 8


@dataclass(frozen=True)
class Source:
    """One file to read.

    Attributes
    ----------
    path
        Where it is.
    name
        Its name relative to the channel, or with the channel before it, as errors show it.
    alone
        Whether it was given by itself instead of a channel.
    """

    path: Path
    name: str
    alone: bool = False


def channel_files(path: Path, *, with_folder: bool = False) -> list[Source]:
    """List the files of a channel, in any sub-folder, by name.

    Those with a leading dot or underscore are skipped. Links are followed, and a folder that several of them lead to
    is read once.

    Parameters
    ----------
    path
        The folder of the channel; or a single file, whatever its name, which is then all there is.
    with_folder
        Whether the name of a file begins with that of the folder: another channel may have a file of the same name.

    Raises
    ------
    UserError
        Where there is nothing at the path, or no such file in the folder.
    PlatformError
        Where a folder cannot be read.
    """
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise unreadable(_printable(path), error) from error
    if not exists:
        kind, remedy = "folder", f", or give the training job a channel named {path.name!r}"
        if path.suffix:
            kind, remedy = "file", ""
        raise UserError(
            f"no data: the {kind} {_printable(path)} does not exist; check the path{remedy}: it takes {EXPECTED}"
        )
    if not is_folder:
        return [Source(path=path, name=_printable(path.name), alone=True)]
    sources, skipped = files_below(path)
    if with_folder:
        sources = [replace(source, name=f"{_printable(path.name)}/{source.name}") for source in sources]
    if not sources:
        there = f"only {_listed(skipped)}, which are skipped" if skipped else "nothing"
        raise UserError(f"no data: the channel {path.name!r} holds {there}; put into it {EXPECTED}")
    return sources


def files_below(folder: Path) -> tuple[list[Source], list[str]]:
    """List the files of a folder as `channel_files` does, and the names of those that are skipped; there may be none.

    Raises
    ------
    PlatformError
        Where a folder cannot be read.
    """
    sources: list[Source] = []
    skipped: list[str] = []
    entered = {_identity(folder)}
    for root, folders, files in os.walk(folder, onerror=_raise_unreadable, followlinks=True):
        skipped += [name + "/" for name in folders if name.startswith((".", "_"))]
        # In order of their names, so that of several ways into one folder the same is always taken.
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        folders[:] = [name for name in folders if _enters(Path(root, name), entered)]
        for file in files:
            path = Path(root, file)
            if file.startswith((".", "_")):
                skipped.append(file)
            else:
                sources.append(Source(path=path, name=_printable(path.relative_to(folder))))
    return sorted(sources, key=lambda source: source.name), skipped


def kind_of(source: Source, *, expected: str = EXPECTED) -> Kind:
    """Tell CSV from Parquet by the first bytes of a file.

    Parameters
    ----------
    expected
        What is read, for errors.

    Raises
    ------
    UserError
        For an empty file, an archive or another format, which the message names.
    """
    try:
        regular = source.path.is_file()
    except OSError as error:
        raise unreadable(source.name, error) from error
    if not regular:
        remedy = "give a file or a folder" if source.alone else "remove it from the channel"
        raise UserError(f"{source.name} is no regular file: {remedy}")
    with opened(source) as stream:
        head, compressed = stream.read(_HEAD_BYTES), isinstance(stream, gzip.GzipFile)
    if not head:
        raise UserError(f"{source.name} is empty: {'' if source.alone else 'remove it, or '}give it a header and rows")
    takes = f"expected are {expected}" if source.alone else f"the channel takes {expected}"
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            raise UserError(f"{source.name} is {what}; {takes}")
    for look, what in _FOREIGN_LOOKS.items():
        if look.match(head):
            raise UserError(f"{source.name} looks like {what}; {takes}")
    if head.startswith(_TAR, _TAR_POSITION):
        raise UserError(f"{source.name} is a tar archive: unpack it; {takes}")
    if head.startswith(_GZIP) and compressed:
        raise UserError(f"{source.name} is compressed with gzip twice: compress it once")
    if head.startswith(_PARQUET):
        if compressed:
            raise UserError(f"{source.name} is Parquet inside gzip: unpack it; Parquet compresses by itself")
        return "parquet"
    if source.path.suffix.lower() == ".parquet":
        raise UserError(f"{source.name} is no Parquet file, although named so: it does not begin with PAR1")
    return "csv"


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Open a file for reading, through gzip where its first bytes say so.

    Raises
    ------
    UserError
        Within the block too, where gzip data are damaged or end early.
    PlatformError
        Within the block too, where the file cannot be read.
    """
    try:
        if _starts_with(source, _GZIP):
            with gzip.open(source.path, "rb") as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            with source.path.open("rb") as stream:
                yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{source.name} is a broken or incomplete gzip file: compress and upload it again ({error})"
        ) from error
    except OSError as error:
        raise unreadable(source.name, error) from error


def unreadable(name: str, error: OSError) -> PlatformError:
    """Make the error for a file that the system does not let us read."""
    return PlatformError(f"{name} cannot be read ({error.strerror or error}): check its permissions and the disk")


def _identity(folder: Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except OSError as error:
        raise unreadable(_printable(folder), error) from error
    return found.st_dev, found.st_ino


def _enters(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """Note that a folder is entered; tell whether it is for the first time, since links may lead in circles."""
    identity = _identity(folder)
    first = identity not in entered
    entered.add(identity)
    return first


def _starts_with(source: Source, magic: bytes) -> bool:
    with source.path.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _raise_unreadable(error: OSError) -> None:
    raise unreadable(_printable(error.filename), error) from error


def _printable(path: Path | str) -> str:
    """Show a path in one line of valid text, whatever its name is made of."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if text.isprintable() else ascii(text)


def _listed(names: list[str]) -> str:
    shown = ", ".join(_printable(name) for name in sorted(names)[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else "")
