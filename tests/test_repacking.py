"""Another list of unavailable items for a packed model: nothing else changes, and nothing is half written."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from artifact_support import as_version_1, model_files
from factorbox import artifact
from factorbox.data.columns import ReadOptions
from factorbox.errors import FactorboxError, PlatformError, UserError
from factorbox.manifest import FORMAT_VERSION
from factorbox.model_files import OPTIONAL_FILES, REQUIRED_FILES
from factorbox.repacking import Repacked, read_available, with_available

LIST = "item_id,available\ni0001,0\ni0002,1\nnowhere,0\n"


def pack(path: Path, members: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.uname = len(content), 1_700_000_000, "somebody"
            archive.addfile(member, io.BytesIO(content))
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {m.name: source.read() for m in archive if (source := archive.extractfile(m)) is not None}


def entry(name: str, kind: bytes, *, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return model_files(tmp_path / "saved")


@pytest.fixture
def model(tmp_path: Path, files: dict[str, bytes]) -> Path:
    return pack(tmp_path / "model.tar.gz", files)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "available.csv"
    path.write_text(LIST)
    return path


def load(packed: Path, folder: Path) -> artifact.Artifact:
    folder.mkdir()
    for name, content in unpacked(packed).items():
        (folder / name).write_bytes(content)
    return artifact.load(folder)


def test_the_list_takes_the_place_of_the_model_s_own_and_nothing_else_changes(
    tmp_path: Path, model: Path, files: dict[str, bytes], listed: Path
) -> None:
    done = with_available(model, available=listed, target=tmp_path / "new/model.tar.gz")
    assert done == Repacked(items=5, unavailable=1, unknown=1)
    after = unpacked(tmp_path / "new/model.tar.gz")
    assert list(after) == list(files)
    assert {name for name in files if files[name] != after[name]} == {"items.arrow", "manifest.json"}
    loaded = load(tmp_path / "new/model.tar.gz", tmp_path / "unpacked")
    assert loaded.available.tolist() == [True, False, True, True, True]
    before = artifact.load(tmp_path / "saved").manifest
    same = [key for key in before if key not in ("counts", "files", "sha256_of_the_above")]
    assert [before[key] for key in same] == [loaded.manifest[key] for key in same]
    assert loaded.manifest["counts"] == before["counts"] | {"unavailable_items": 1}
    assert {"validation", "learning_curve"} <= loaded.manifest.keys()
    assert loaded.held_out is not None
    assert loaded.held_out.indices.tolist() == [4, 4]
    assert files.keys() == REQUIRED_FILES | OPTIONAL_FILES.keys() | {"manifest.json"}
    assert unpacked(model) == files


def test_the_list_that_training_had_gives_the_model_of_training(
    tmp_path: Path, model: Path, files: dict[str, bytes], listed: Path
) -> None:
    with_available(model, available=listed, target=tmp_path / "new.tar.gz")
    listed.write_text("item_id,available\ni0003,0\n")
    with_available(tmp_path / "new.tar.gz", available=listed, target=tmp_path / "new.tar.gz")
    assert unpacked(tmp_path / "new.tar.gz") == files


def test_the_same_model_and_list_give_the_same_bytes_whenever_it_was_packed(
    tmp_path: Path, model: Path, files: dict[str, bytes], listed: Path
) -> None:
    with_available(model, available=listed, target=tmp_path / "one.tar.gz")
    again = tmp_path / "again.tar.gz"
    with gzip.open(model) as tar, gzip.GzipFile(again, "wb", compresslevel=9, mtime=7) as anew:
        anew.write(tar.read())
    assert again.read_bytes() != model.read_bytes()
    with_available(again, available=listed, target=tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_what_else_is_in_the_archive_stays_in_it(tmp_path: Path, files: dict[str, bytes], listed: Path) -> None:
    members: dict[str, bytes | tarfile.TarInfo] = {
        ".": entry(".", tarfile.DIRTYPE),
        **{f"./{name}": content for name, content in files.items()},
        "./code": entry("./code", tarfile.DIRTYPE),
        "./code/readme.txt": b"mine",
    }
    with_available(pack(tmp_path / "model.tar.gz", members), available=listed, target=tmp_path / "new.tar.gz")
    with tarfile.open(tmp_path / "new.tar.gz") as archive:
        assert archive.getnames() == list(members)
        assert {member.mtime for member in archive} == {0}
    assert unpacked(tmp_path / "new.tar.gz")["./code/readme.txt"] == b"mine"


def test_a_model_of_format_version_1_takes_a_list_too(tmp_path: Path, listed: Path) -> None:
    model_files(tmp_path / "saved")
    as_version_1(tmp_path / "saved")
    older = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    with_available(pack(tmp_path / "m.tar.gz", older), available=listed, target=tmp_path / "new.tar.gz")
    loaded = load(tmp_path / "new.tar.gz", tmp_path / "unpacked")
    assert loaded.available.tolist() == [True, False, True, True, True]
    assert loaded.manifest["format_version"] == FORMAT_VERSION


def test_the_item_column_and_the_delimiter_of_the_training_are_known_from_the_model(tmp_path: Path) -> None:
    model = pack(tmp_path / "m.tar.gz", model_files(tmp_path / "saved", item_column="sku", delimiter="tab"))
    (tmp_path / "list").write_text("sku\tavailable\ni0000\tFALSE\n")
    assert with_available(model, available=tmp_path / "list", target=tmp_path / "new").unavailable == 1


LISTS = {
    "no column available": ("item_id,title\ni0001,x\n", r"available.csv has no column available: add one"),
    "no item column": ("sku,available\ni0001,1\n", r"no item column in available.csv, line 1"),
    "a value": ("item_id,available\ni0001,no\n", r"bad value 'no' in available.csv, line 2"),
    "two values": ("item_id,available\ni0001,1\ni0001,0\n", r"item 'i0001' has two values in column 'available'"),
    "all": ("item_id,available\n" + "".join(f"i000{k},0\n" for k in range(5)), r"all 5 items of the model are unav"),
    "empty": ("", r"available.csv is empty"),
    # Either would make every item available.
    "header only": ("item_id,available\n", r"available.csv holds column names only"),
    "other items": ("item_id,available\nelsewhere,0\n", r"no item of available.csv is in the model"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_bad_list_is_refused_and_nothing_is_written(tmp_path: Path, model: Path, listed: Path, case: str) -> None:
    text, words = LISTS[case]
    listed.write_text(text)
    target = tmp_path / "new.tar.gz"
    target.write_bytes(b"what was there")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=words):
        with_available(model, available=listed, target=target)
    assert target.read_bytes() == b"what was there"
    assert sorted(tmp_path.rglob("*")) == before


BAD_MEMBERS: dict[str, dict[str, bytes | tarfile.TarInfo]] = {
    "parent": {"../x": b"1"},
    "inner parent": {"a/../../x": b"1"},
    "absolute": {"/tmp/x": b"1"},
    "link": {"x": entry("x", tarfile.SYMTYPE, target="manifest.json")},
    "hard link": {"x": entry("x", tarfile.LNKTYPE, target="manifest.json")},
    "device": {"x": entry("x", tarfile.CHRTYPE)},
    "pipe": {"x": entry("x", tarfile.FIFOTYPE)},
    "twice": {"./manifest.json": b"{}"},
}


@pytest.mark.parametrize("case", BAD_MEMBERS)
@pytest.mark.parametrize("last", [True, False])
def test_members_that_are_no_plain_files_of_the_folder_are_refused(
    tmp_path: Path, files: dict[str, bytes], listed: Path, case: str, last: bool
) -> None:
    bad = BAD_MEMBERS[case]
    members: dict[str, bytes | tarfile.TarInfo] = {**files, **bad} if last else {**bad, **files}
    model = pack(tmp_path / "model.tar.gz", members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"model.tar.gz holds '.*', which (is|leads)"):
        with_available(model, available=listed, target=tmp_path / "new.tar.gz")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_model_is_refused_by_name(tmp_path: Path, files: dict[str, bytes], listed: Path) -> None:
    broken = dict(files)
    broken["users.arrow"] = files["users.arrow"][:-1] + b"x"
    whole = pack(tmp_path / "whole", files).read_bytes()
    cases: dict[str, tuple[bytes, type[FactorboxError], str]] = {
        "text": (b"no archive", UserError, "other.tar.gz is no model.tar.gz, or a broken one"),
        "not tar": (gzip.compress(b"x" * 5000), UserError, "other.tar.gz is no model.tar.gz, or a broken one"),
        "cut": (whole[: len(whole) // 2], UserError, "other.tar.gz is no model.tar.gz, or a broken one"),
        "other model": (
            pack(tmp_path / "o", {"weights.bin": b"0"}).read_bytes(),
            PlatformError,
            r"no model in other.tar.gz: manifest.json is missing \(found: weights.bin\)",
        ),
        "damaged": (
            pack(tmp_path / "d", broken).read_bytes(),
            PlatformError,
            "the model file other.tar.gz/users.arrow is damaged: its SHA-256",
        ),
    }
    for content, kind, words in cases.values():
        (tmp_path / "other.tar.gz").write_bytes(content)
        with pytest.raises(kind, match=words):
            with_available(tmp_path / "other.tar.gz", available=listed, target=tmp_path / "new.tar.gz")
        assert not (tmp_path / "new.tar.gz").exists()
    with pytest.raises(UserError, match=r"there is no file .*nowhere"):
        with_available(tmp_path / "nowhere", available=listed, target=tmp_path / "new.tar.gz")


def test_a_full_disk_leaves_the_target_as_it_was(
    tmp_path: Path, model: Path, listed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model.read_bytes()

    def disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", disk_full)
    with pytest.raises(PlatformError, match="No space left on device; free disk space"):
        with_available(model, available=listed, target=model)
    assert model.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["available.csv", "model.tar.gz", "saved"]


def test_a_list_can_be_checked_without_a_model(tmp_path: Path, listed: Path) -> None:
    assert read_available(listed, options=ReadOptions()).rows == 3
    with pytest.raises(UserError, match=r"there is no file .*nowhere"):
        read_available(tmp_path / "nowhere", options=ReadOptions())
