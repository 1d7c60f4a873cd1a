"""Transform jobs with containers that are real processes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.logs.models import logs_backends

from local_sagemaker.logs import TRANSFORM_GROUP
from local_sagemaker.orphans import Session
from local_sagemaker.process_runner import ProcessRunner
from local_sagemaker.state import ACCOUNT
from training_job_support import REGION, clean_moto, make_bucket, put
from transform_support import Bench

CONTAINER = Path(__file__).parent / "containers" / "transform_echo"


def archive(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as target:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            target.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with clean_moto():
        make_bucket()
        session = Session(tmp_path / "session")
        (tmp_path / "work").mkdir()
        put("s3://bkt/model.tar.gz", archive(prefix="> "))
        bench = Bench(tmp_path / "work", runner=ProcessRunner(container=CONTAINER, session=session))
        bench.model(ModelDataUrl="s3://bkt/model.tar.gz")
        yield bench
        bench.jobs.close()
        assert list((tmp_path / "work").iterdir()) == []
        session.close()


def test_a_container_gets_its_model_and_answers(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        put(f"s3://bkt/in/{name}", "".join(f"{name}{number}\n" for number in range(100)))
    bench.completed(split="Line", assemble="Line", BatchStrategy="SingleRecord", MaxConcurrentTransforms=3, instances=2)
    assert bench.outputs() == {
        f"{name}.out": "".join(f"> {name}{number}\n" for number in range(100)).encode() for name in ("a", "b", "c")
    }
    streams = logs_backends[ACCOUNT][REGION].groups[TRANSFORM_GROUP].streams
    output = [event.message for name, stream in streams.items() if "data-log" not in name for event in stream.events]
    assert output == ["ready; batch=true"] * 2


def test_a_bad_record_fails_its_object(bench: Bench) -> None:
    put("s3://bkt/in/a", "1\nfail\n")
    put("s3://bkt/in/b", "2\n")
    assert bench.run(split="Line")["FailureReason"] == "ClientError: See job logs for more information"
    assert "bkt/in/a: record 2: fail" in bench.data_log()
    assert bench.outputs() == {"b.out": b"> 2"}


def test_a_container_that_dies_fails_what_it_has_not_answered(bench: Bench) -> None:
    for name, text in (("a", "1"), ("b", "die"), ("c", "3")):
        put(f"s3://bkt/in/{name}", text)
    assert bench.run()["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert "bkt/in/b: the container has ended with exit code 137" in bench.data_log()
    assert "bkt/in/c: Unable to get response from algorithm" in bench.data_log()
    assert bench.outputs() == {"a.out": b"> 1"}


def test_a_container_that_ends_before_it_answers_fails_the_job(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    put("s3://bkt/model.tar.gz", archive(other="x"))
    reason = bench.run()["FailureReason"]
    assert reason.startswith("AlgorithmError: Model container failed to respond to ping.")
    assert reason.endswith("The container has ended with exit code 1")


def test_a_model_archive_that_escapes_fails_the_job(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    put("s3://bkt/model.tar.gz", archive(**{"../prefix": "x"}))
    reason = bench.run()["FailureReason"]
    assert reason.startswith("ClientError:")
    assert "../prefix" in reason
