"""factorbox.load: folders, archives that nobody vouches for, and S3 over HTTP."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest

import factorbox
from artifact_support import model_files
from factorbox import artifact
from factorbox.errors import PlatformError, UserError
from factorbox.model_files import OPTIONAL_FILES
from film_model import FILM_FACTORS, FILMS, pack, save_films
from local_sagemaker import LocalSageMaker
from support import CONTAINER

BUCKET = "models"
WITHOUT_BOTH = """
import sys
class Without:
    def find_spec(self, name, *_):
        if name in ("pandas", "boto3"):
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Without())
"""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_films(tmp_path_factory.mktemp("films") / "model")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is unpacked."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", container=CONTAINER, bucket=BUCKET, quiet=True) as local:
        yield local


@pytest.fixture
def bucket(local: LocalSageMaker, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that boto3 finds by the environment alone."""
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)
    boto3.DEFAULT_SESSION = None
    return BUCKET


def upload(local: LocalSageMaker, folder: Path, *, prefix: str, bucket: str = BUCKET) -> None:
    s3 = local.client("s3")
    for path in folder.iterdir():
        s3.put_object(Bucket=bucket, Key=prefix + path.name, Body=path.read_bytes())


def archive_of(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def link(name: str, target: str, *, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def members_of(folder: Path) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def assert_films(model: object) -> None:
    assert repr(model) == "<Recommender: als, 3 users, 4 items, d=2>"


def test_a_folder_is_loaded_from_a_path_or_a_text(films: Path) -> None:
    assert_films(factorbox.load(films))
    assert_films(factorbox.load(str(films)))


def test_a_tilde_is_the_home_folder(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(films.parent))
    assert_films(factorbox.load("~/model"))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*nowhere: give a model folder, a model\.tar\.gz or an s3://"):
        factorbox.load(tmp_path / "nowhere")


def test_what_is_neither_file_nor_folder_is_refused() -> None:
    with pytest.raises(UserError, match="/dev/null is neither a folder nor a file"):
        factorbox.load("/dev/null")


@pytest.mark.parametrize("inside", ["model", "model.tar.gz", "output/model.tar.gz"])
def test_a_folder_around_a_model_says_what_to_load(films: Path, tmp_path: Path, inside: str) -> None:
    (tmp_path / "job/output").mkdir(parents=True)
    if inside == "model":
        shutil.copytree(films, tmp_path / "job/model")
    else:
        pack(films, tmp_path / "job" / inside)
    with pytest.raises(UserError, match="is no model folder, but holds") as error:
        factorbox.load(tmp_path / "job")
    path = str(error.value).rsplit(": load ")[1]
    assert path == str(tmp_path / "job" / inside)
    assert_films(factorbox.load(path))


def test_a_folder_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PlatformError, match=r"manifest\.json is missing \(found: notes\.txt"):
        factorbox.load(tmp_path)


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("mode", ["w:gz", "w", "w:xz"])
def test_an_archive_is_loaded_however_it_was_packed(films: Path, tmp_path: Path, prefix: str, mode: str) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", mode) as archive:  # type: ignore[call-overload]
        archive.add(films, arcname=prefix or ".", recursive=False)
        for path in films.iterdir():
            archive.add(path, arcname=prefix + path.name)
    assert_films(factorbox.load(tmp_path / "model.tar.gz"))


@pytest.fixture(scope="module")
def with_all_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with every file that one can have."""
    folder = tmp_path_factory.mktemp("all") / "model"
    files = model_files(folder)
    assert OPTIONAL_FILES.keys() < files.keys()
    return folder


def test_every_file_of_a_model_is_unpacked(with_all_files: Path, tmp_path: Path) -> None:
    """Trap: a list of the files of its own, which knows nothing of the weights of networks."""
    model = factorbox.load(pack(with_all_files, tmp_path / "model.tar.gz"))
    whole = artifact.load(with_all_files)
    assert model.manifest == whole.manifest
    assert model.item_details is not None
    assert model.layers["output_bias"].tolist() == [1]
    assert model.seen.indices.tolist() == whole.seen.indices.tolist() != model.history.indices.tolist()


@pytest.mark.parametrize("name", OPTIONAL_FILES)
def test_a_file_that_the_manifest_names_and_the_archive_lacks_is_missed(
    with_all_files: Path, tmp_path: Path, name: str
) -> None:
    members = [(other, content) for other, content in members_of(with_all_files) if other != name]
    with pytest.raises(PlatformError, match=rf"model\.tar\.gz/{name} is damaged: it is missing"):
        factorbox.load(archive_of(tmp_path / "model.tar.gz", *members))


def test_every_file_of_a_model_is_fetched_from_a_prefix_in_s3(
    with_all_files: Path, local: LocalSageMaker, bucket: str
) -> None:
    upload(local, with_all_files, prefix="every/file/")
    model = factorbox.load(f"s3://{bucket}/every/file")
    assert model.manifest == artifact.load(with_all_files).manifest


def test_the_temporary_folder_is_gone_after_loading_and_the_model_goes_on(
    films: Path, tmp_path: Path, temporary: Path
) -> None:
    archive = pack(films, tmp_path / "model.tar.gz")
    model = factorbox.load(archive)
    archive.unlink()
    assert not any(temporary.iterdir())
    assert model.recommend("ann")["item_id"].to_list() == ["diva", "charade"]
    assert model.recommend("ann", titles=True)["title"].iloc[0] == "Diva (1981)"
    factors = model.item_factors
    del model
    np.testing.assert_array_equal(factors, FILM_FACTORS)


def test_what_else_is_in_an_archive_is_not_unpacked(films: Path, tmp_path: Path) -> None:
    absolute = str(tmp_path / "absolute")
    hostile: list[tarfile.TarInfo | tuple[str, bytes]] = [
        ("../outside", b"x"),
        (absolute, b"x"),
        ("code/inference.py", b"x"),
        ("._manifest.json", b"x"),
        link("code", str(tmp_path)),
        ("code/through", b"x"),
        ("sub/manifest.json", b"x"),
    ]
    archive = archive_of(tmp_path / "model.tar.gz", *hostile, *members_of(films))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert_films(factorbox.load(archive))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_file_of_the_model_must_be_a_plain_one(films: Path, tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = archive_of(
        tmp_path / "model.tar.gz", link("manifest.json", str(tmp_path / "secret"), kind=kind), *members_of(films)
    )
    with pytest.raises(UserError, match=r"manifest\.json in model\.tar\.gz is no plain file"):
        factorbox.load(archive)


def test_a_file_that_is_there_twice_is_refused(films: Path, tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "model.tar.gz", *members_of(films), ("./items.arrow", b"x"))
    with pytest.raises(UserError, match=r"items\.arrow is twice in model\.tar\.gz"):
        factorbox.load(archive)


def test_an_archive_of_the_folder_rather_than_its_content_says_so(films: Path, tmp_path: Path) -> None:
    archive = pack(films, tmp_path / "model.tar.gz", prefix="model/")
    with pytest.raises(UserError, match=r"found there: 'model/factors\.safetensors'.*the content of a model folder"):
        factorbox.load(archive)


def test_an_empty_archive_says_that_nothing_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found there: nothing"):
        factorbox.load(archive_of(tmp_path / "model.tar.gz"))


@pytest.mark.parametrize("kept", [0, 10, 700, 0.5, 0.8])
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_an_archive_that_is_cut_off_is_refused(
    films: Path, tmp_path: Path, temporary: Path, kept: float, mode: str
) -> None:
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, mode) as packed:  # type: ignore[call-overload]
        for path in films.iterdir():
            packed.add(path, arcname=path.name)
    content = archive.read_bytes()
    # Without the blocks of zeros at its end an uncompressed archive is still whole.
    end = len(content.rstrip(b"\0")) if mode == "w" else len(content)
    archive.write_bytes(content[: int(kept * end) if isinstance(kept, float) else kept])
    with pytest.raises((UserError, PlatformError), match=r"broken one|no model in|is damaged|is missing"):
        factorbox.load(archive)
    assert not any(temporary.iterdir())


@pytest.mark.parametrize("content", [b"no archive at all", b"\x1f\x8bno gzip", b"PK\x03\x04 a zip"])
def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match="is no tar archive, or a broken one") as error:
        factorbox.load(tmp_path / "model.tar.gz")
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_found(films: Path, tmp_path: Path) -> None:
    content = bytearray(pack(films, tmp_path / "model.tar.gz").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises((UserError, PlatformError), match=r"broken one|is damaged"):
        factorbox.load(tmp_path / "model.tar.gz")


def test_an_error_names_the_archive_and_not_the_folder_that_is_gone(
    films: Path, tmp_path: Path, temporary: Path
) -> None:
    members = [(name, content) for name, content in members_of(films) if name != "users.arrow"]
    archive = archive_of(tmp_path / "model.tar.gz", *members, ("users.arrow", b"x"))
    with pytest.raises(PlatformError, match=r"model\.tar\.gz/users\.arrow is damaged") as error:
        factorbox.load(archive)
    assert str(temporary) not in str(error.value)


def test_what_the_disk_cannot_take_is_refused_before_it_is_written(
    films: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(PlatformError, match=r"not enough disk space to unpack the model: .* set TMPDIR"):
        factorbox.load(pack(films, tmp_path / "model.tar.gz"))
    assert not any(temporary.iterdir())


@pytest.mark.parametrize("key", ["jobs/one/output/model.tar.gz", "model.tgz", "jobs/model.tar"])
def test_an_archive_in_s3(films: Path, tmp_path: Path, temporary: Path, bucket: str, key: str) -> None:
    content = pack(films, tmp_path / "model.tar.gz").read_bytes()
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=content)
    assert_films(factorbox.load(f"s3://{bucket}/{key}"))
    assert not any(temporary.iterdir())


@pytest.mark.parametrize("prefix", ["unpacked/one", "unpacked/one/", "unpacked-too"])
def test_a_prefix_in_s3(films: Path, local: LocalSageMaker, bucket: str, temporary: Path, prefix: str) -> None:
    upload(local, films, prefix=f"{prefix.rstrip('/')}/")
    model = factorbox.load(f"s3://{bucket}/{prefix}")
    assert model.item_ids.to_list() == list(FILMS)
    assert not any(temporary.iterdir())


def test_a_bucket_that_is_a_model_itself(films: Path, local: LocalSageMaker, bucket: str) -> None:
    local.client("s3").create_bucket(Bucket="whole")
    upload(local, films, prefix="", bucket="whole")
    assert_films(factorbox.load("s3://whole"))
    assert_films(factorbox.load("s3://whole/"))


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"s3://{BUCKET}/none/model.tar.gz", rf"there is no s3://{BUCKET}/none/model\.tar\.gz: give"),
        ("s3://no-such-bucket/model.tar.gz", r"there is no s3://no-such-bucket/model\.tar\.gz"),
        ("s3://no-such-bucket/model", "no model below s3://no-such-bucket/model/"),
        (f"s3://{BUCKET}/none", rf"no model below s3://{BUCKET}/none/: there is no s3://{BUCKET}/none/manifest\.json"),
        ("s3://", "names no bucket: write s3://BUCKET/KEY"),
        ("s3:///key", "names no bucket"),
    ],
)
def test_what_is_not_in_s3_is_named(bucket: str, uri: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        factorbox.load(uri)


def test_the_output_of_a_job_in_s3_says_what_to_load(films: Path, tmp_path: Path, bucket: str) -> None:
    content = pack(films, tmp_path / "model.tar.gz").read_bytes()
    boto3.client("s3").put_object(Bucket=bucket, Key="job-7/output/model.tar.gz", Body=content)
    with pytest.raises(UserError, match=rf"found s3://{bucket}/job-7/output/model\.tar\.gz: load that"):
        factorbox.load(f"s3://{bucket}/job-7")


def test_a_damaged_model_in_s3_is_named_by_its_uri(
    films: Path, local: LocalSageMaker, bucket: str, temporary: Path
) -> None:
    upload(local, films, prefix="damaged/")
    local.client("s3").put_object(Bucket=bucket, Key="damaged/items.arrow", Body=b"x")
    with pytest.raises(PlatformError, match=f"s3://{bucket}/damaged/items.arrow is damaged"):
        factorbox.load(f"s3://{bucket}/damaged/")
    boto3.client("s3").put_object(Bucket=bucket, Key="damaged/model.tar.gz", Body=b"x")
    with pytest.raises(UserError, match=f"s3://{bucket}/damaged/model.tar.gz is no tar archive"):
        factorbox.load(f"s3://{bucket}/damaged/model.tar.gz")


def test_a_manifest_in_s3_cannot_name_files_elsewhere(
    films: Path, tmp_path: Path, local: LocalSageMaker, bucket: str
) -> None:
    manifest = (films / "manifest.json").read_text().replace("items.arrow", "../items.arrow")
    local.client("s3").put_object(Bucket=bucket, Key="hostile/manifest.json", Body=manifest.encode())
    with pytest.raises(PlatformError, match=r"manifest\.json is damaged"):
        factorbox.load(f"s3://{bucket}/hostile")


def test_without_credentials_the_variables_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    boto3.DEFAULT_SESSION = None
    with pytest.raises(PlatformError, match=r"no AWS credentials to read s3://b/model\.tar\.gz: set AWS_ACCESS_KEY_ID"):
        factorbox.load("s3://b/model.tar.gz")


def test_an_endpoint_that_does_not_answer_is_one_sentence(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(PlatformError, match=rf"cannot read s3://{bucket}/model\.tar\.gz: Could not connect"):
            factorbox.load(f"s3://{bucket}/model.tar.gz")


def test_an_unknown_profile_is_one_sentence(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    boto3.DEFAULT_SESSION = None
    with pytest.raises(PlatformError, match=r"cannot read s3://models/: The config profile \(nobody\)"):
        factorbox.load(f"s3://{bucket}/model.tar.gz")


def test_without_boto3_its_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(PlatformError, match="models in S3 need boto3, which is not installed: pip install boto3"):
        factorbox.load("s3://b/model.tar.gz")


def test_importing_factorbox_imports_nothing_heavy() -> None:
    program = (
        "import sys, factorbox; factorbox.__version__;"
        " sys.exit(', '.join({'numpy', 'torch', 'numba', 'pyarrow', 'pandas', 'boto3'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_neither_pandas_nor_boto3_is_needed_to_load_and_to_answer(films: Path) -> None:
    program = f"""{WITHOUT_BOTH}
import factorbox
model = factorbox.load({str(films)!r})
model.warm_up()
print(model.fold_in([["alien"]]).factors.shape)
try:
    model.recommend("ann")
except factorbox.errors.PlatformError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = "answers in Python are pandas frames, and pandas is not installed: pip install pandas"
    assert done.stdout.splitlines() == ["(1, 2)", said]
