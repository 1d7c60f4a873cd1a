"""Another list of unavailable items for a model.tar.gz, without training it anew."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from factorbox import artifact
from factorbox.data.columns import ReadOptions
from factorbox.data.files import Source
from factorbox.data.item_details import AVAILABLE, ItemRows
from factorbox.data.item_details_reading import read_item_rows
from factorbox.errors import PlatformError, UserError
from factorbox.writing import disk_errors, partial_folder

# Factors hardly compress: level 9 takes ten times as long for a few per cent.
_LEVEL = 1


@dataclass(frozen=True)
class Repacked:
    """What became of the list.

    Attributes
    ----------
    items
        Items of the model.
    unavailable
        Those that are not recommended from now on.
    unknown
        Items of the list that the model does not have.
    """

    items: int
    unavailable: int
    unknown: int


def read_available(file: Path, *, options: ReadOptions) -> ItemRows:
    """Read a list: a CSV with an item column and a column `available`; others are read as in the channel `items`.

    Parameters
    ----------
    options
        `item_column` and `delimiter` count where they fit the file.

    Raises
    ------
    UserError
        Where the file is no such list; the message names line, value and remedy.
    PlatformError
        Where it cannot be read.
    """
    if not file.is_file():
        raise UserError(f"there is no file {file}: give a CSV with the columns item_id and {AVAILABLE}")
    rows = read_item_rows([Source(path=file, name=file.name)], options=options)
    if not rows.rows:
        raise UserError(f"{file.name} holds column names only, and would make every item available: give it rows")
    if rows.available is None:
        raise UserError(f"{file.name} has no column {AVAILABLE}: add one with 1 or 0 for each item")
    return rows


def with_available(model: Path, *, available: Path, target: Path) -> Repacked:
    """Pack a model anew with another list of unavailable items; items that the list does not name are available.

    All else stays as it is, and the same model and list give the same bytes.

    Parameters
    ----------
    model
        A model.tar.gz.
    available
        The list, as `read_available` takes it.
    target
        The file to write, whole or not at all; it may be `model` itself.

    Raises
    ------
    UserError
        Where the list or the archive is none, or no item would be left.
    PlatformError
        Where the archive holds no sound model, or a file cannot be read or written.
    """
    with disk_errors(target.parent), partial_folder(target.parent) as partial:
        folder = partial / "model"
        members = _unpack(model, folder)
        loaded = _load(folder, name=model.name)
        kept = loaded.manifest["hyperparameters"]
        options = ReadOptions(item_column=kept.get("item_column"), delimiter=kept.get("delimiter", ","))
        listed = read_available(available, options=options).for_items(loaded.item_ids)
        if not listed.matched:
            raise UserError(
                f"no item of {available.name} is in the model, so the list would make every item available: give one of"
                " this model's items; ids are compared as text, and 7 is not 007"
            )
        artifact.replace_available(folder, model=loaded, available=listed.available)
        packed = partial / "model.tar.gz"
        _pack(folder, members=members, target=packed)
        os.replace(packed, target)
    return Repacked(items=len(listed.available), unavailable=listed.unavailable, unknown=listed.unknown)


def _load(folder: Path, *, name: str) -> artifact.Artifact:
    try:
        return artifact.load(folder)
    except PlatformError as error:
        # Where it was unpacked is gone when this is read.
        raise PlatformError(str(error).replace(str(folder), name)) from error


def _unpack(archive: Path, folder: Path) -> list[tarfile.TarInfo]:
    """Unpack an archive of plain files and folders; return its members in order, without owners and times."""
    members: dict[PurePosixPath, tarfile.TarInfo] = {}
    if not archive.is_file():
        raise UserError(f"there is no file {archive}: give the model.tar.gz of a training job")
    folder.mkdir()
    try:
        with tarfile.open(archive, mode="r:gz") as packed:
            for member in packed:
                path = PurePosixPath(member.name)
                if not (member.isreg() or member.isdir()):
                    raise _refused(archive, member, "is a link or a device, and no plain file")
                if path.is_absolute() or ".." in path.parts or "\0" in member.name:
                    raise _refused(archive, member, "leads out of the model folder")
                if path in members:
                    raise _refused(archive, member, "is in it twice")
                members[path] = _anonymous(member)
                (folder / path if member.isdir() else (folder / path).parent).mkdir(parents=True, exist_ok=True)
                content = packed.extractfile(member)
                if content is not None:
                    with content, (folder / path).open("wb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{archive.name} is no model.tar.gz, or a broken one ({error}): fetch it again") from error
    return list(members.values())


def _refused(archive: Path, member: tarfile.TarInfo, what: str) -> UserError:
    return UserError(f"{archive.name} holds {member.name!r}, which {what}: give the model.tar.gz that training wrote")


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    bare = tarfile.TarInfo(member.name)
    bare.type = tarfile.DIRTYPE if member.isdir() else tarfile.REGTYPE
    bare.mode = member.mode & 0o777
    return bare


def _pack(folder: Path, *, members: Sequence[tarfile.TarInfo], target: Path) -> None:
    """Write an archive whose bytes depend on the members alone."""
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for member in members:
            if member.isdir():
                archive.addfile(member)
                continue
            path = folder / member.name
            member.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(member, content)
