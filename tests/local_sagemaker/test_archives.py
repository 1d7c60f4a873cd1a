from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_sagemaker.archives import ArchiveError, pack, unpack
from local_sagemaker.folders import make_read_only, remove_tree


def archive_of(path: Path, *members: tuple[str, bytes | tuple[bytes, str]]) -> Path:
    """Write a .tar.gz: a member is a name and content, or a name and (type, target)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content
                archive.addfile(info)
    return path


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_folder_comes_back_as_it_was_packed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "deep/er/factors").write_bytes(os.urandom(3_000_000))
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "latest").symlink_to("deep/er")
    assert pack(folder, tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "back")
    assert everything_below(tmp_path / "back") == everything_below(folder)
    assert (tmp_path / "back/latest/factors").read_bytes() == (folder / "deep/er/factors").read_bytes()
    assert os.access(tmp_path / "back/run", os.X_OK)


def test_members_have_no_leading_folder_and_no_owner(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/factors").write_text("x")
    pack(tmp_path / "model", tmp_path / "model.tar.gz")
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        assert [(m.name, m.uid, m.uname) for m in archive.getmembers()] == [("factors", 0, "")]


@pytest.mark.parametrize("make", [True, False])
def test_an_empty_or_missing_folder_gives_no_archive(tmp_path: Path, make: bool) -> None:
    if make:
        (tmp_path / "model").mkdir()
    assert not pack(tmp_path / "model", tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/file").write_text("x")
    (tmp_path / "model").symlink_to("secret")
    assert not pack(tmp_path / "model", tmp_path / "model.tar.gz")
    assert not (tmp_path / "model.tar.gz").exists()
    assert "model is a symbolic link" in caplog.text


def test_pipes_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model/pipe")
    (tmp_path / "model/file").write_text("x")
    pack(tmp_path / "model", tmp_path / "model.tar.gz")
    unpack(tmp_path / "model.tar.gz", tmp_path / "back")
    assert everything_below(tmp_path / "back") == {"file"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("/outside", b"x"),
        ("../outside", b"x"),
        ("inside/../../outside", b"x"),
        ("link", (tarfile.SYMTYPE, "/etc/passwd")),
        ("link", (tarfile.SYMTYPE, "../outside")),
        ("link", (tarfile.SYMTYPE, "inside/../../outside")),
        ("link", (tarfile.LNKTYPE, "../outside")),
        ("link", (tarfile.LNKTYPE, "/etc/passwd")),
        ("pipe", (tarfile.FIFOTYPE, "")),
        ("device", (tarfile.CHRTYPE, "")),
        (".", b"x"),
        (".", (tarfile.SYMTYPE, "inside")),
    ],
)
def test_what_leaves_the_folder_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | tuple[bytes, str]
) -> None:
    (tmp_path / "outside").write_text("mine")
    archive = archive_of(tmp_path / "x.tar.gz", ("inside/file", b"x"), (name, content))
    with pytest.raises(ArchiveError, match="the archive's member"):
        unpack(archive, tmp_path / "in/to")
    assert everything_below(tmp_path / "in/to") <= {"inside", "inside/file"}
    assert (tmp_path / "outside").read_text() == "mine"


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", ("link", (tarfile.SYMTYPE, "..")), ("link/outside", b"x"))
    with pytest.raises(ArchiveError, match="link"):
        unpack(archive, tmp_path / "in/to")
    assert not (tmp_path / "in/outside").exists()


def test_links_are_judged_by_where_they_lead_together(tmp_path: Path) -> None:
    # Each alone stays inside; the first leads out as soon as the second is there.
    links = [("out", (tarfile.SYMTYPE, "deep/up/../../outside")), ("deep/up", (tarfile.SYMTYPE, "../"))]
    archive = archive_of(tmp_path / "x.tar.gz", ("deep/file", b"x"), *links)
    with pytest.raises(ArchiveError, match="'out' leaves the folder"):
        unpack(archive, tmp_path / "in/to")
    assert everything_below(tmp_path / "in/to") == {"deep", "deep/file"}


def test_no_link_is_made_through_another(tmp_path: Path) -> None:
    links = [("a", (tarfile.SYMTYPE, "deep")), ("a/b", (tarfile.SYMTYPE, "file"))]
    archive = archive_of(tmp_path / "x.tar.gz", ("deep/file", b"x"), *links)
    with pytest.raises(ArchiveError, match="'a/b'"):
        unpack(archive, tmp_path / "to")


@pytest.mark.parametrize(
    "members",
    [
        [("loop", (tarfile.SYMTYPE, "loop"))],
        [("loop", (tarfile.SYMTYPE, "other")), ("other", (tarfile.SYMTYPE, "loop"))],
        [("loop", (tarfile.SYMTYPE, "loop")), ("loop/file", (tarfile.SYMTYPE, "x"))],
        [(f"loop{number}", (tarfile.SYMTYPE, f"loop{number + 1}")) for number in range(2000)],
    ],
)
def test_links_in_a_circle_are_refused_by_name(
    tmp_path: Path, members: list[tuple[str, bytes | tuple[bytes, str]]]
) -> None:
    with pytest.raises(ArchiveError, match="the archive's member 'loop"):
        unpack(archive_of(tmp_path / "x.tar.gz", *members), tmp_path / "in/to")
    assert everything_below(tmp_path) == {"x.tar.gz", "in", "in/to"}


@pytest.mark.parametrize(
    "member",
    [
        ("a/" * 2000 + "b", b"x"),
        ("a/" * 2000 + "b", (tarfile.SYMTYPE, "c")),
        ("a/" * 2000 + "b", (tarfile.DIRTYPE, "")),
        ("a" * 5000, b"x"),
        ("a\0b", b"x"),
        ("a\0b", (tarfile.SYMTYPE, "c")),
        ("a", (tarfile.SYMTYPE, "c\0d")),
        ("a", (tarfile.LNKTYPE, "c\0d")),
    ],
)
def test_a_name_that_cannot_be_made_is_refused_and_shown_in_short(
    tmp_path: Path, member: tuple[str, bytes | tuple[bytes, str]]
) -> None:
    # Plain headers end a name at NUL: only PAX records carry it.
    name, content = member
    info = tarfile.TarInfo("plain")
    info.pax_headers = {"path": name}
    if isinstance(content, bytes):
        info.size = len(content)
    else:
        info.type = content[0]
        info.pax_headers["linkpath"] = content[1]
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    with pytest.raises(ArchiveError, match=r"the archive's member 'a.* cannot be unpacked") as caught:
        unpack(tmp_path / "x.tar.gz", tmp_path / "in/to")
    assert len(str(caught.value)) < 300
    assert everything_below(tmp_path) == {"x.tar.gz", "in", "in/to"}


def test_links_inside_and_hard_links_work(tmp_path: Path) -> None:
    members: list[tuple[str, bytes | tuple[bytes, str]]] = [
        ("a/file", b"content"),
        ("b/hard", (tarfile.LNKTYPE, "a/file")),
        ("b/soft", (tarfile.SYMTYPE, "../a/file")),
        ("b/dangling", (tarfile.SYMTYPE, "nowhere")),
    ]
    unpack(archive_of(tmp_path / "x.tar.gz", *members), tmp_path / "to")
    assert (tmp_path / "to/b/hard").read_text() == (tmp_path / "to/b/soft").read_text() == "content"


def test_the_last_member_of_a_name_wins(tmp_path: Path) -> None:
    unpack(archive_of(tmp_path / "x.tar.gz", ("file", b"first"), ("./file", b"second")), tmp_path / "to")
    assert (tmp_path / "to/file").read_text() == "second"


def test_a_file_cannot_be_a_folder_too(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", ("name", b"x"), ("name/file", b"x"))
    with pytest.raises(ArchiveError, match="'name/file' cannot be unpacked"):
        unpack(archive, tmp_path / "to")


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_was_cut_off_is_refused(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    content = archive_of(folder / "x.tar.gz", ("a", b"a" * 5000), ("b", os.urandom(500))).read_bytes()
    (folder / "x.tar.gz").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArchiveError):
        unpack(folder / "x.tar.gz", folder / "to")


def test_a_wrong_checksum_at_the_end_is_noticed(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "x.tar.gz", ("a", os.urandom(5000)))
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="not a complete"):
        unpack(archive, tmp_path / "to")


def test_read_only_folders_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "model/deep").mkdir(parents=True)
    (tmp_path / "model/deep/file").write_text("x")
    (tmp_path / "model/link").symlink_to("/etc")
    make_read_only(tmp_path / "model")
    assert not (tmp_path / "model/deep").stat().st_mode & 0o222
    assert not (tmp_path / "model/deep/file").stat().st_mode & 0o222
    remove_tree(tmp_path / "model")
    remove_tree(tmp_path / "model")
    assert not (tmp_path / "model").exists()
