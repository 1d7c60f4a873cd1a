from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from factorbox.data.files import channel_files, kind_of
from factorbox.errors import PlatformError, UserError


def put(path: Path, data: bytes = b"user,item\na,b\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(folder: Path) -> list[str]:
    return [source.name for source in channel_files(folder)]


def deny(monkeypatch: pytest.MonkeyPatch, denied: Path, *, owner: Any, method: str) -> None:
    """Let the system refuse one path to one function; root would pass through real modes."""
    real = getattr(owner, method)

    def guarded(path: Any, *args: Any, **options: Any) -> Any:
        if Path(path) == denied:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(owner, method, guarded)


def test_linked_folders_and_files_are_read_in_order_of_their_names(tmp_path: Path) -> None:
    channel = tmp_path / "training"
    put(channel / "b.csv")
    put(tmp_path / "elsewhere" / "part-1.csv")
    put(tmp_path / "elsewhere" / "deep" / "part-2.csv")
    (channel / "c").symlink_to(tmp_path / "elsewhere")
    (channel / "a.csv").symlink_to(tmp_path / "elsewhere" / "part-1.csv")
    assert names(channel) == ["a.csv", "b.csv", "c/deep/part-2.csv", "c/part-1.csv"]


def test_links_that_lead_in_circles_end_and_a_folder_is_read_once(tmp_path: Path) -> None:
    channel = tmp_path / "training"
    put(channel / "x" / "a.csv")
    (channel / "x" / "up").symlink_to("..")
    (channel / "x" / "self").symlink_to(".")
    (channel / "y").symlink_to("x")
    (channel / "a").symlink_to(channel / "x")
    assert names(channel) == ["a/a.csv"]


def test_a_channel_that_is_a_link_is_read(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "a.csv")
    (tmp_path / "training").symlink_to("elsewhere")
    assert names(tmp_path / "training") == ["a.csv"]


def test_a_single_file_is_all_there_is_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path / "other.csv")
    for name in ("_part.csv", ".hidden", "plain"):
        (source,) = channel_files(put(tmp_path / name))
        assert (source.name, source.path, kind_of(source)) == (name, tmp_path / name, "csv")


def test_a_path_that_is_not_there_is_refused_with_what_may_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no data: the file .*/x\.csv does not exist; check the path: it takes CSV"):
        channel_files(tmp_path / "x.csv")
    channel = r"or give the training job a channel named 'training': it takes CSV"
    with pytest.raises(UserError, match=rf"no data: the folder .*/training does not exist; check the path, {channel}"):
        channel_files(tmp_path / "training")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.csv is empty: give it a header and rows"),
        (
            b"PK\x03\x04..",
            "a.csv is a zip archive (or an Excel workbook): unpack it, or export it as CSV; expected are CSV",
        ),
    ],
)
def test_errors_of_a_single_file_do_not_talk_of_a_channel(tmp_path: Path, data: bytes, message: str) -> None:
    (source,) = channel_files(put(tmp_path / "a.csv", data))
    with pytest.raises(UserError) as caught:
        kind_of(source)
    assert str(caught.value).startswith(message)
    assert "channel" not in str(caught.value)


@pytest.mark.parametrize(("denied", "method"), [("training", "is_dir"), ("training", "stat"), ("training/x", "stat")])
def test_a_folder_that_cannot_be_entered_is_a_platform_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: str, method: str
) -> None:
    put(tmp_path / "training" / "x" / "a.csv")
    deny(monkeypatch, tmp_path / denied, owner=Path, method=method)
    with pytest.raises(PlatformError, match=rf"{denied} cannot be read \(Permission denied\): check its permissions"):
        channel_files(tmp_path / "training")


def test_a_folder_that_cannot_be_listed_is_a_platform_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "training" / "x" / "a.csv")
    deny(monkeypatch, tmp_path / "training" / "x", owner=os, method="scandir")
    with pytest.raises(PlatformError, match=r"training/x cannot be read \(Permission denied\): check its permissions"):
        channel_files(tmp_path / "training")


def test_a_file_in_a_folder_that_cannot_be_entered_is_a_platform_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = put(tmp_path / "x" / "a.csv")
    (source,) = channel_files(tmp_path)
    deny(monkeypatch, denied, owner=Path, method="is_file")
    with pytest.raises(PlatformError, match=r"x/a\.csv cannot be read \(Permission denied\): check its permissions"):
        kind_of(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
@pytest.mark.parametrize("mode", [0o644, 0o000])
@pytest.mark.parametrize("closed", [".", "training", "training/x"])
def test_real_modes_give_platform_errors(tmp_path: Path, mode: int, closed: str) -> None:
    root = tmp_path / "base"
    put(root / "training" / "x" / "a.csv")
    (root / closed).chmod(mode)
    try:
        with pytest.raises(PlatformError, match=r"cannot be read \(Permission denied\): check its permissions"):
            for source in channel_files(root / "training"):
                kind_of(source)
    finally:
        (root / closed).chmod(0o755)


HEADER = "user_id,item_id\na,b\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HEADER.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (HEADER.encode("utf-16-le"), "looks like UTF-16 text: save it as UTF-8"),
        (HEADER.encode("utf-16-be"), "looks like UTF-16 text: save it as UTF-8"),
        (HEADER.encode("utf-32"), "is UTF-32 text: save it as UTF-8"),
        (b"\0\0\xfe\xff" + HEADER.encode("utf-32-be"), "is UTF-32 text: save it as UTF-8"),
        (HEADER.encode("utf-32-le"), "looks like UTF-32 text: save it as UTF-8"),
        (b'{"user_id":"a","item_id":"b"}\n', "looks like JSON: write it as CSV or Parquet"),
        (b'\xef\xbb\xbf[\n  {\n    "user_id": "a"}]', "looks like JSON: write it as CSV or Parquet"),
        (b'["a","b"]\n', "looks like JSON: write it as CSV or Parquet"),
    ],
)
def test_text_of_other_kinds_is_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    put(tmp_path / "a.csv", data)
    (source,) = channel_files(tmp_path)
    with pytest.raises(UserError) as caught:
        kind_of(source)
    assert str(caught.value).startswith(f"a.csv {message}; the channel takes CSV files")
