"""``model.tar.gz`` and ``output.tar.gz``: packing folders, and unpacking archives that nobody vouches for."""

from __future__ import annotations

import errno
import gzip
import logging
import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

# Factors hardly compress: level 9 takes ten times as long for a few per cent.
_LEVEL = 1
# Deeper folders could neither be made nor removed: both take a call within a call for each.
_DEEPEST = 200
_LONGEST_SHOWN = 100

_log = logging.getLogger(__name__)


class ArchiveError(Exception):
    """An archive that cannot be unpacked, or a folder that cannot be packed; the message names the member."""


def pack(folder: Path, target: Path) -> bool:
    """Write the content of a folder into a ``.tar.gz``, with names relative to the folder.

    The same content gives the same members, whoever owns the files. Sockets, pipes and devices are left out.

    Parameters
    ----------
    folder
        What to pack; may be missing. A symbolic link in its place is not followed, and counts as an empty folder.
    target
        The archive to write.

    Returns
    -------
    bool
        ``False``, and no archive, where there is nothing in the folder.

    Raises
    ------
    ArchiveError
        Where a file cannot be read.
    """
    if folder.is_symlink():
        _log.warning("%s is a symbolic link in place of a folder: it is not followed, and nothing is packed", folder)
        return False
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    try:
        with tarfile.open(target, "w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, arcname=path.name, filter=_anonymous)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise ArchiveError(f"{error.filename or folder} cannot be packed: {error.strerror or error}") from error
    return True


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ``.tar.gz`` into a folder, and nowhere else.

    Links are made last, once every file is written, so that nothing is ever written through one.

    Parameters
    ----------
    archive
        A gzip-compressed tar archive.
    folder
        Where to; made where it does not exist.

    Raises
    ------
    ArchiveError
        Where it is no complete ``.tar.gz``, or a member would leave the folder, cannot be made there, leads in
        a circle or is no file, folder or link. Files that came before that member may have been written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    links: list[tarfile.TarInfo] = []
    member: tarfile.TarInfo | None = None
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                target = _target(member, member.name, folder=folder)
                if member.issym():
                    links.append(member)
                elif member.islnk():
                    _replace(target)
                    os.link(_target(member, member.linkname, folder=folder), target)
                elif member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                elif member.isfile() and (source := members.extractfile(member)):
                    _write(source, target, executable=bool(member.mode & 0o100))
                else:
                    raise ArchiveError(f"the archive's member {_shown(member.name)} is no file, folder or link")
            _check_rest(stream)
        member = None
        _make_links(links, folder=folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"not a complete .tar.gz archive: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise _cannot(member, error) from error


def _target(member: tarfile.TarInfo, name: str, *, folder: Path) -> Path:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not (path.parts or member.isdir()):
        raise _leaves(member, name)
    if "\0" in name:
        raise ArchiveError(f"the archive's member {_shown(member.name)} cannot be unpacked: NUL in {_shown(name)}")
    if len(path.parts) > _DEEPEST:
        raise ArchiveError(
            f"the archive's member {_shown(member.name)} cannot be unpacked: it is more than {_DEEPEST} folders deep"
        )
    return folder / path


def _replace(target: Path) -> None:
    """Make room for a member: the second of a name replaces the first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)


def _write(source: IO[bytes], target: Path, *, executable: bool) -> None:
    _replace(target)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, 1024 * 1024)
    target.chmod(0o755 if executable else 0o644)


def _make_links(links: list[tarfile.TarInfo], *, folder: Path) -> None:
    """Make symbolic links; none stays where one of them leads out of the folder.

    Where a link leads depends on the links on its way, so they are judged when all are there; and none is made
    through another one.
    """
    inside = folder.resolve()
    made: list[Path] = []
    try:
        for member in links:
            target = inside / PurePosixPath(member.name)
            try:
                if target.parent.resolve() != target.parent:
                    raise _leaves(member, member.name)
                _replace(target)
                target.symlink_to(member.linkname)
            except (OSError, ValueError, RuntimeError) as error:
                raise _cannot(member, error) from error
            made.append(target)
        for member in links:
            target = inside / PurePosixPath(member.name)
            absolute = PurePosixPath(member.linkname).is_absolute()
            try:
                if absolute or not Path(os.path.realpath(target)).is_relative_to(inside):
                    raise _leaves(member, member.linkname)
                _check_end(target)
            except (OSError, ValueError, RuntimeError) as error:
                raise _cannot(member, error) from error
    except BaseException:
        for target in made:
            target.unlink(missing_ok=True)
        raise


def _check_end(link: Path) -> None:
    """Raise ``OSError`` for a link that leads in a circle; one to nothing is fine."""
    try:
        link.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise


def _leaves(member: tarfile.TarInfo, name: str) -> ArchiveError:
    to = "" if name == member.name else f" through its target {_shown(name)}"
    return ArchiveError(f"the archive's member {_shown(member.name)} leaves the folder that it is unpacked into{to}")


def _cannot(member: tarfile.TarInfo | None, error: Exception) -> ArchiveError:
    place = f"the archive's member {_shown(member.name)}" if member else "the archive"
    return ArchiveError(f"{place} cannot be unpacked: {getattr(error, 'strerror', None) or error}")


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}...")


def _check_rest(stream: gzip.GzipFile) -> None:
    """Read what follows the last member: only at the end does gzip compare its checksum."""
    while stream.read(1024 * 1024):
        pass
