from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.s3.models import s3_backends

from local_sagemaker.errors import ServiceError
from local_sagemaker.state import ACCOUNT
from local_sagemaker.storage import Storage, relative_name, split_uri
from training_job_support import clean_moto, get, make_bucket, put


@pytest.fixture(autouse=True)
def bucket() -> Iterator[None]:
    with clean_moto():
        make_bucket("bkt")
        yield


def test_a_uri_is_split_into_bucket_and_key() -> None:
    assert split_uri("s3://bkt/some/key") == ("bkt", "some/key")
    assert split_uri("s3://bkt") == ("bkt", "")


@pytest.mark.parametrize("uri", ["", "b/key", "s3://", "s3:///key", "https://b/key"])
def test_what_is_no_s3_uri_is_refused_by_name(uri: str) -> None:
    with pytest.raises(ServiceError, match="is no S3 URI: write s3://BUCKET/KEY") as error:
        split_uri(uri)
    assert error.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("data/a.csv", "data/a.csv", "a.csv"),
        ("a.csv", "a.csv", "a.csv"),
        ("data/", "data/sub/a.csv", "sub/a.csv"),
        ("data", "data/sub/a.csv", "sub/a.csv"),
        ("data", "data_old/a.csv", "data_old/a.csv"),
        ("x/part-", "x/part-0", "part-0"),
        ("x/part-", "x/part-0/deep", "part-0/deep"),
        ("", "x/y", "x/y"),
        ("data/", "data/", ""),
    ],
)
def test_names_are_relative_to_the_prefix_or_to_its_folder_where_it_cuts_a_name(
    prefix: str, key: str, name: str
) -> None:
    assert relative_name(prefix, key) == name


def test_a_prefix_is_a_prefix_of_names_and_no_folder() -> None:
    for key in ("test/b", "test/a", "test_output/c", "tes", "other"):
        put(f"s3://bkt/{key}", "12345")
    objects = Storage().list_prefix("s3://bkt/test")
    assert [(entry.key, entry.size, entry.name) for entry in objects] == [
        ("test/a", 5, "a"),
        ("test/b", 5, "b"),
        ("test_output/c", 5, "test_output/c"),
    ]


def test_deleted_objects_are_not_listed() -> None:
    put("s3://bkt/x/a")
    put("s3://bkt/x/gone")
    backend = s3_backends[ACCOUNT]["aws"]
    backend.put_bucket_versioning("bkt", "Enabled")
    backend.delete_object("bkt", "x/gone")
    assert [entry.key for entry in Storage().list_prefix("s3://bkt/x/")] == ["x/a"]
    assert not Storage().exists("s3://bkt/x/gone")


def test_a_missing_bucket_is_named() -> None:
    with pytest.raises(ServiceError, match='no bucket "nowhere"'):
        Storage().list_prefix("s3://nowhere/x")
    assert not Storage().has_bucket("nowhere")
    assert not Storage().exists("s3://nowhere/x")


@pytest.mark.parametrize("uri", ["s3://bkt/none", "s3://nowhere/none"])
def test_a_prefix_without_objects_is_refused_in_the_words_of_aws(uri: str) -> None:
    with pytest.raises(ServiceError) as error:
        Storage().require_objects(uri, region="eu-west-1", role="arn:role")
    assert error.value.message == (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket exists in '
        "the selected region (eu-west-1), that objects exist under that S3 prefix, and that the role "
        f'"arn:role" has "s3:ListBucket" permissions on bucket "{split_uri(uri)[0]}".'
    )


def test_a_manifest_names_objects_of_one_prefix_in_its_order() -> None:
    put("s3://bkt/data/z.csv", "123")
    put("s3://bkt/data/sub/a.csv", "1")
    put("s3://bkt/m", json.dumps([{"prefix": "s3://bkt/data/"}, "z.csv", "sub/a.csv", "z.csv"]))
    objects = Storage().manifest("s3://bkt/m")
    assert [(entry.key, entry.size, entry.name) for entry in objects] == [
        ("data/z.csv", 3, "z.csv"),
        ("data/sub/a.csv", 1, "sub/a.csv"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "is no JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "is none: write"),
        ('["a.csv"]', "is none: write"),
        ('[{"prefix": "s3://bkt/data/"}, 7]', "is none: write"),
        (
            '[{"prefix": "s3://bkt/data/"}, "missing.csv"]',
            "1 of 1 objects that do not exist: s3://bkt/data/missing.csv",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_says_why(content: str, words: str) -> None:
    put("s3://bkt/m", content)
    with pytest.raises(ServiceError, match=words):
        Storage().manifest("s3://bkt/m")


def test_a_missing_manifest_is_named() -> None:
    with pytest.raises(ServiceError, match="Could not find the manifest at s3://bkt/none"):
        Storage().manifest("s3://bkt/none")


def test_a_file_is_stored_with_its_etag_and_comes_back_the_same(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(range(256)) * 10)
    Storage().upload(tmp_path / "in", "bkt", "x/y", kms_key="key-1")
    Storage().download("bkt", "x/y", tmp_path / "new/out")
    assert (tmp_path / "new/out").read_bytes() == (tmp_path / "in").read_bytes()
    stored = s3_backends[ACCOUNT]["aws"].get_object("bkt", "x/y")
    assert stored is not None
    assert stored.value == (tmp_path / "in").read_bytes()
    assert stored.size == 2560
    assert stored.etag == f'"{hashlib.md5(stored.value).hexdigest()}"'
    assert stored.kms_key_id == "key-1"


def test_an_upload_replaces_an_object_and_keeps_its_versions_where_the_bucket_does(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("new")
    backend = s3_backends[ACCOUNT]["aws"]
    put("s3://bkt/plain", "old")
    Storage().upload(tmp_path / "in", "bkt", "plain")
    assert get("s3://bkt/plain") == b"new"
    backend.put_bucket_versioning("bkt", "Enabled")
    put("s3://bkt/kept", "old")
    Storage().upload(tmp_path / "in", "bkt", "kept")
    assert get("s3://bkt/kept") == b"new"
    assert [version.value for version in backend.get_bucket("bkt").keys.getlist("kept")] == [b"old", b"new"]


def test_an_object_appears_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Storage().upload(tmp_path / "missing", "bkt", "x")
    assert not Storage().exists("s3://bkt/x")


def test_an_object_that_is_replaced_while_it_is_read_is_an_error_and_no_mixture() -> None:
    put("s3://bkt/x", b"a" * 3_000_000)
    with Storage().open("bkt", "x") as source:
        source.read(10)
        put("s3://bkt/x", b"b" * 3_000_000)
        with pytest.raises(OSError, match="s3://bkt/x was replaced or deleted while it was read"):
            source.read()


def test_two_readers_of_one_object_do_not_disturb_each_other() -> None:
    content = bytes(range(256)) * 20_000
    put("s3://bkt/x", content)
    with Storage().open("bkt", "x") as first, Storage().open("bkt", "x") as second:
        parts = [(first.read(1_000_001), second.read(999_999)) for _ in range(6)]
    assert b"".join(part for part, _ in parts) == content
    assert b"".join(part for _, part in parts) == content


def test_large_objects_pass_through_a_small_memory(tmp_path: Path) -> None:
    size = 96 * 1024 * 1024
    with (tmp_path / "in").open("wb") as file:
        file.truncate(size)
    tracemalloc.start()
    try:
        Storage().upload(tmp_path / "in", "bkt", "large")
        Storage().download("bkt", "large", tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out").stat().st_size == size
    # moto keeps the first 5 MB of an object in memory before it moves to a file.
    assert peak < 24 * 1024 * 1024
