"""Transform jobs over a fake runner: what a user asks for and gets."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from local_sagemaker.errors import ServiceError
from local_sagemaker.logs import TRANSFORM_GROUP
from local_sagemaker.runners import ContainerSpec, RunnerError
from local_sagemaker.state import ACCOUNT
from training_job_support import REGION, clean_moto, make_bucket, put
from transform_support import QUICK, Answer, Application, Bench, FakeRunner, Request, answers_everything, echo, request

MEGABYTE = 1024 * 1024
FAILED = "See job logs for more information"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with clean_moto():
        make_bucket()
        bench = Bench(tmp_path)
        yield bench
        bench.jobs.close()
        assert list(tmp_path.iterdir()) == [], "a job left files behind"
        assert all(container.removed for container in bench.runner.containers)


def by_line(answer: Callable[[bytes], bytes]) -> Application:
    """An application that answers each line by a line, without a newline after the last."""

    def application(incoming: Request) -> Answer:
        return 200, b"\n".join(answer(line) for line in incoming.body.splitlines())

    return application


def refusing(bad: bytes, *, status: int = 400, message: bytes = b"record 1: bad") -> Application:
    def application(incoming: Request) -> Answer:
        return (status, message) if bad in incoming.body else (200, incoming.body)

    return application


def held() -> tuple[Application, threading.Event, threading.Event]:
    """An application that says when a request is there, and answers when it is told to."""
    begun, over = threading.Event(), threading.Event()

    def application(incoming: Request) -> Answer:
        begun.set()
        over.wait(30)
        return 200, incoming.body

    return application, begun, over


# What is sent


def test_an_object_goes_whole_unless_it_is_split(bench: Bench) -> None:
    put("s3://bkt/in/a.csv", "1\n2\n")
    bench.completed(content_type="text/csv", accept="application/jsonlines")
    assert bench.runner.bodies == [b"1\n2\n"]
    headers = bench.runner.containers[0].invocations[0].headers
    assert (headers["Content-Type"], headers["Accept"]) == ("text/csv", "application/jsonlines")
    assert bench.outputs() == {"a.csv.out": b"1\n2\n"}


def test_headers_are_sent_only_if_the_request_gives_them(bench: Bench) -> None:
    put("s3://bkt/in", "x")
    bench.completed()
    assert not {"content-type", "accept"} & {name.lower() for name in bench.runner.containers[0].invocations[0].headers}


def test_single_record_sends_each_line_and_keeps_the_order_however_many_requests_run_at_once(bench: Bench) -> None:
    lines = [f"{number}\n" for number in range(300)]
    put("s3://bkt/in/a", "".join(lines))
    bench.completed(split="Line", BatchStrategy="SingleRecord", MaxConcurrentTransforms=7)
    assert sorted(bench.runner.bodies) == sorted(line.encode() for line in lines)
    assert bench.outputs() == {"a.out": "".join(lines).encode()}


def test_requests_really_run_at_once_up_to_the_concurrency(bench: Bench) -> None:
    together = threading.Barrier(4)

    def application(incoming: Request) -> Answer:
        together.wait(30)
        return 200, incoming.body

    bench.runner.application = application
    # Also over the end of an object.
    for name in "abcd":
        put(f"s3://bkt/in/{name}", name)
    bench.completed(MaxConcurrentTransforms=4)
    assert bench.outputs() == {f"{name}.out": name.encode() for name in "abcd"}


def test_multi_record_fills_payloads_of_max_payload_in_mb(bench: Bench) -> None:
    line = b"x" * (MEGABYTE // 4 - 1) + b"\n"
    put("s3://bkt/in", line * 9)
    bench.completed(split="Line", MaxPayloadInMB=1)
    assert [len(body) for body in bench.runner.bodies] == [MEGABYTE, MEGABYTE, MEGABYTE // 4]
    assert bench.outputs() == {"in.out": line * 9}


def test_no_limit_sends_one_stream_in_chunks(bench: Bench) -> None:
    content = b"0123456789abcde\n" * 200_000
    put("s3://bkt/in", content)
    bench.completed(split="Line", MaxPayloadInMB=0, MaxConcurrentTransforms=2)
    (sent,) = bench.runner.containers[0].invocations
    assert sent.chunked
    assert sent.body == content
    assert bench.outputs() == {"in.out": content}


def test_gzip_is_decompressed_and_keeps_its_name(bench: Bench) -> None:
    put("s3://bkt/in/a.csv.gz", gzip.compress(b"1\n") + gzip.compress(b"2\n"))
    bench.completed(compression="Gzip", split="Line")
    assert bench.runner.bodies == [b"1\n2\n"]
    assert bench.outputs() == {"a.csv.gz.out": b"1\n2\n"}


@pytest.mark.parametrize("content", [b"1\n2\n", gzip.compress(b"1\n2\n" * 100)[:-9]])
@pytest.mark.parametrize("payload_mb", [0, 1])
def test_a_broken_gzip_fails_its_object_alone(content: bytes, payload_mb: int, bench: Bench) -> None:
    put("s3://bkt/in/a.gz", content)
    put("s3://bkt/in/b.gz", gzip.compress(b"fine"))
    description = bench.run(compression="Gzip", MaxPayloadInMB=payload_mb)
    assert description["FailureReason"] == f"ClientError: {FAILED}"
    assert any(line.startswith("bkt/in/a.gz: ClientError: The object cannot be read") for line in bench.data_log())
    assert bench.outputs() == {"b.gz.out": b"fine"}


def test_prefixes_manifests_and_folders_name_the_output(bench: Bench) -> None:
    for key in ("in/a", "in/sub/b", "in_more/c", "in/folder/"):
        put(f"s3://bkt/{key}", b"" if key.endswith("/") else key)
    bench.completed("prefix", output_path="s3://bkt/out/1/")
    put("s3://bkt/manifest", json.dumps([{"prefix": "s3://bkt/"}, "in/sub/b", "in/a"]))
    bench.completed("manifest", uri="s3://bkt/manifest", data_type="ManifestFile", output_path="s3://bkt/out/2")
    bench.completed("exact", uri="s3://bkt/in/sub/b", output_path="s3://bkt/out/3")
    assert set(bench.outputs()) == {
        "1/a.out",
        "1/sub/b.out",
        "1/in_more/c.out",
        "2/in/sub/b.out",
        "2/in/a.out",
        "3/b.out",
    }


def test_an_empty_object_makes_no_request_and_an_empty_output(bench: Bench) -> None:
    put("s3://bkt/in/a", b"")
    put("s3://bkt/in/b.gz", gzip.compress(b""))
    bench.completed("plain", uri="s3://bkt/in/a", split="Line", assemble="Line")
    bench.completed("gzip", uri="s3://bkt/in/b.gz", compression="Gzip", MaxPayloadInMB=0)
    assert bench.runner.bodies == []
    assert bench.outputs() == {"a.out": b"", "b.gz.out": b""}


# How the container is driven


def parametrized(answer: bytes) -> Application:
    @answers_everything
    def application(incoming: Request) -> Answer:
        if incoming.path == "/execution-parameters":
            return 200, answer
        return (200, incoming.body) if incoming.path == "/invocations" else None

    return application


def test_the_container_says_how_it_wants_to_be_driven_and_the_request_comes_first(bench: Bench) -> None:
    put("s3://bkt/in", "1\n2\n")
    bench.runner.application = parametrized(
        b'{"MaxConcurrentTransforms": 4, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}'
    )
    bench.completed("asks", split="Line")
    bench.completed("tells", split="Line", BatchStrategy="MultiRecord")
    assert bench.data_log("asks") == ["MaxConcurrentTransforms=4, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD"]
    assert bench.data_log("tells") == ["MaxConcurrentTransforms=4, MaxPayloadInMB=2, BatchStrategy=MULTI_RECORD"]
    assert [len(container.invocations) for container in bench.runner.containers] == [2, 1]


def test_without_an_answer_the_defaults_hold(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.completed()
    assert bench.data_log() == ["MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"]


def test_a_wrong_answer_is_told(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.runner.application = parametrized(b'{"MaxPayloadInMB": "much"}')
    bench.completed()
    assert any("gives MaxPayloadInMB='much', which is no integer" in line for line in bench.data_log())


def test_the_container_gets_the_model_and_its_environment(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.state.url = "http://127.0.0.1:4"
    bench.model(Image="repo/image:2", Environment={"A": "model", "B": "model", "SAGEMAKER_BATCH": "no"})
    bench.completed(Environment={"B": "job"}, MaxPayloadInMB=3)
    spec: ContainerSpec = bench.runner.containers[0].spec
    assert (spec.job, spec.image, spec.arguments, spec.serves) == ("transform-job/j", "repo/image:2", ("serve",), True)
    assert spec.environment == {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4",
        "AWS_REGION": REGION,
        "AWS_SECRET_ACCESS_KEY": "test",
        "A": "model",
        "B": "job",
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "3",
    }


def test_an_isolated_container_has_no_credentials(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.state.url = "http://127.0.0.1:4"
    bench.state.models["m"]["EnableNetworkIsolation"] = True
    bench.completed()
    spec = bench.runner.containers[0].spec
    assert spec.isolated
    assert spec.environment == {"AWS_REGION": REGION, "SAGEMAKER_BATCH": "true"}


def test_several_instances_share_the_objects(bench: Bench) -> None:
    for number in range(7):
        put(f"s3://bkt/in/{number}", str(number))
    bench.completed(instances=3)
    shares = sorted(sorted(request.body for request in container.invocations) for container in bench.runner.containers)
    assert shares == [[b"0", b"3", b"6"], [b"1", b"4"], [b"2", b"5"]]
    assert len(bench.outputs()) == 7


def test_no_instance_is_started_for_nothing(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.completed(instances=5)
    assert len(bench.runner.containers) == 1


def test_log_streams_are_named_as_the_sdk_looks_for_them(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.completed()
    streams = logs_backends[ACCOUNT][REGION].groups[TRANSFORM_GROUP].streams
    output, data_log = sorted(streams)
    assert output.startswith("j/i-")
    assert data_log == f"{output}/data-log"
    assert [event.message for event in streams[output].events] == ["the container has started"]


# What is stored


@pytest.mark.parametrize(
    ("assemble", "answer", "output", "warns"),
    [
        ("None", b"a", b"aaa", False),
        ("None", b"a\n", b"a\na\na\n", False),
        ("Line", b"a\nb", b"a\nb\na\nb\na\nb\n", False),
        ("Line", b"a\n", b"a\n\na\n\na\n\n", True),
    ],
)
def test_assemble_with_line_adds_one_newline_after_each_answer(
    assemble: str, answer: bytes, output: bytes, warns: bool, bench: Bench
) -> None:
    put("s3://bkt/in", "1\n2\n3")
    bench.runner.application = lambda _request: (200, answer)
    bench.completed(split="Line", assemble=assemble, BatchStrategy="SingleRecord")
    assert bench.outputs() == {"in.out": output}
    assert any("3 of 3 answers ended with a newline" in line for line in bench.data_log()) is warns


def test_a_refused_request_fails_its_object_and_no_other(bench: Bench) -> None:
    put("s3://bkt/in/a", "1\n2\nbad\n4\n")
    put("s3://bkt/in/b", "fine\n")
    bench.runner.application = refusing(b"bad", message=b"record 1: top_n=0\nuse >= 1")
    description = bench.run(split="Line", BatchStrategy="SingleRecord", MaxConcurrentTransforms=3)
    assert description["TransformJobStatus"] == "Failed"
    assert description["FailureReason"] == f"ClientError: {FAILED}"
    assert bench.outputs() == {"b.out": b"fine\n"}
    assert bench.data_log()[1:] == [
        "bkt/in/a: ClientError: 400",
        "bkt/in/a:",
        "bkt/in/a: Message:",
        "bkt/in/a: record 1: top_n=0",
        "bkt/in/a: use >= 1",
    ]
    assert bench.runner.bodies.count(b"bad\n") == 1


def test_nothing_of_a_failed_object_is_sent_any_more(bench: Bench) -> None:
    put("s3://bkt/in", "bad\n" + "more\n" * 1000)
    bench.runner.application = refusing(b"bad")
    bench.run(split="Line", BatchStrategy="SingleRecord")
    assert bench.runner.bodies == [b"bad\n"]


def test_a_500_that_stays_is_the_algorithms_fault(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.runner.application = lambda _request: (500, b"boom")
    description = bench.run(ModelClientConfig={"InvocationsMaxRetries": 1})
    assert description["FailureReason"] == f"AlgorithmError: {FAILED}"
    assert bench.runner.bodies == [b"1", b"1"]
    assert "bkt/in: Bad HTTP status received from algorithm: 500" in bench.data_log()
    assert "bkt/in: boom" in bench.data_log()


def test_a_500_once_is_tried_again(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    answers: list[Answer] = [(500, b"boom"), (200, b"fine")]
    bench.runner.application = lambda _request: answers.pop(0)
    bench.completed()
    assert bench.outputs() == {"in.out": b"fine"}
    assert bench.data_log()[1] == "Attempt 1 of 4 failed (status 500); the request is sent again"


def test_no_answer_is_told_in_the_words_that_users_search_for(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.runner.application = lambda _request: None
    description = bench.run(ModelClientConfig={"InvocationsMaxRetries": 0})
    assert description["FailureReason"] == f"AlgorithmError: {FAILED}"
    assert "bkt/in: Unable to get response from algorithm" in bench.data_log()


def test_a_late_answer_is_no_answer(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    application, _, over = held()
    bench.runner.application = application
    description = bench.run(ModelClientConfig={"InvocationsMaxRetries": 0, "InvocationsTimeoutInSeconds": 1})
    over.set()
    assert description["FailureReason"] == f"AlgorithmError: {FAILED}"
    assert "bkt/in: no answer within 1 seconds" in bench.data_log()


def test_a_record_or_an_object_larger_than_the_payload_fails(bench: Bench) -> None:
    put("s3://bkt/in/a", b"1\n" + b"x" * MEGABYTE + b"\n")
    put("s3://bkt/in/b", "2\n")
    description = bench.run("lines", split="Line", MaxPayloadInMB=1)
    assert description["FailureReason"] == f"ClientError: {FAILED}"
    assert any(
        "bkt/in/a: ClientError: Record 2 is larger than MaxPayloadInMB=1:" in line for line in bench.data_log("lines")
    )
    bench.run("whole", MaxPayloadInMB=1, output_path="s3://bkt/out/whole")
    assert any("bkt/in/a: ClientError: The object is larger than" in line for line in bench.data_log("whole"))
    assert bench.outputs() == {"b.out": b"2\n", "whole/b.out": b"2\n"}


def test_filters_and_joins(bench: Bench) -> None:
    put("s3://bkt/in/a.csv", "1,x,10\n2,y,20\n")
    bench.runner.application = by_line(lambda line: b"<" + line + b">")
    bench.completed(
        split="Line",
        assemble="Line",
        content_type="text/csv",
        accept="text/csv",
        DataProcessing={"InputFilter": "$[1:2]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    assert bench.runner.bodies == [b"x\ny\n"]
    assert bench.outputs() == {"a.csv.out": b"1,<x>\n2,<y>\n"}
    assert any("the end of a slice is exclusive" in line for line in bench.data_log())


@pytest.mark.parametrize("payload_mb", [0, 1])
def test_a_join_of_many_payloads_keeps_each_record_with_its_answer(payload_mb: int, bench: Bench) -> None:
    records = [{"id": number, "text": "x" * 200} for number in range(20_000)]
    put("s3://bkt/in", "".join(json.dumps(record) + "\n" for record in records))
    bench.runner.application = by_line(lambda line: line[line.index(b":") + 1 : line.index(b",")])
    bench.completed(
        split="Line",
        assemble="Line",
        content_type="application/jsonlines",
        accept="application/jsonlines",
        MaxPayloadInMB=payload_mb,
        MaxConcurrentTransforms=3,
        DataProcessing={"JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"},
    )
    lines = bench.outputs()["in.out"].splitlines()
    assert [json.loads(line) for line in lines] == [{"id": n, "SageMakerOutput": n} for n in range(20_000)]
    assert len(bench.runner.bodies) == (1 if payload_mb == 0 else 5)


def test_a_join_with_another_number_of_lines_fails_the_object(bench: Bench) -> None:
    put("s3://bkt/in", "1\n2\n")
    bench.runner.application = lambda _request: (200, b"a\nb\nc")
    description = bench.run(
        split="Line",
        assemble="Line",
        content_type="text/csv",
        accept="text/csv",
        DataProcessing={"JoinSource": "Input"},
    )
    assert description["FailureReason"] == f"AlgorithmError: {FAILED}"
    assert any(
        "Fail to join data: mismatched line count between the input and the output" in line for line in bench.data_log()
    )
    assert bench.outputs() == {}


def test_an_output_bucket_that_went_away_fails_the_job(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    make_bucket("other")
    application, begun, over = held()
    bench.runner.application = application
    bench.create(output_path="s3://other/out")
    assert begun.wait(30)
    s3_backends[ACCOUNT]["aws"].delete_bucket("other")
    over.set()
    assert bench.wait()["TransformJobStatus"] == "Failed"
    assert any("The output cannot be stored" in line for line in bench.data_log())


# How a job ends


def test_a_container_that_never_answers_ping_fails_the_job(bench: Bench, tmp_path: Path) -> None:
    put("s3://bkt/in", "1")
    runner = FakeRunner(answers_everything(lambda _request: (503, b"loading")))
    here = Bench(tmp_path, runner=runner, settings=replace(QUICK, ping_window_seconds=0.3))
    description = here.run()
    assert description["FailureReason"] == (
        "AlgorithmError: Model container failed to respond to ping. Please ensure /ping endpoint is implemented and "
        "responds with an HTTP 200 status code"
    )
    assert "TransformStartTime" not in description
    assert runner.containers[0].removed


def test_a_container_that_ends_while_it_loads_fails_the_job_at_once(bench: Bench) -> None:
    put("s3://bkt/in", "1")

    @answers_everything
    def application(_request: Request) -> Answer:
        bench.runner.containers[0].exit_code = 3
        return 503, b""

    bench.runner.application = application
    assert bench.run()["FailureReason"].endswith("The container has ended with exit code 3")


def test_a_container_that_cannot_be_started_fails_the_job(bench: Bench) -> None:
    put("s3://bkt/in", "1")

    def refuse(_spec: ContainerSpec, *, on_line: Callable[[str], None]) -> Any:
        raise RunnerError("there is no image image:1")

    bench.runner.start = refuse
    assert bench.run()["FailureReason"] == "ClientError: there is no image image:1"


def test_a_stopped_job_stores_nothing_more(bench: Bench) -> None:
    put("s3://bkt/in/a", "1\n2\n3\n")
    application, begun, over = held()
    bench.runner.application = application
    bench.create(split="Line", BatchStrategy="SingleRecord", MaxConcurrentTransforms=2)
    assert begun.wait(30)
    bench.jobs.stop({"TransformJobName": "j"})
    description = bench.wait()
    over.set()
    assert description["TransformJobStatus"] == "Stopped"
    assert "FailureReason" not in description
    assert bench.outputs() == {}
    with pytest.raises(ServiceError, match="The request was rejected because the transform job is in status Stopped"):
        bench.jobs.stop({"TransformJobName": "j"})


def test_a_job_is_stopped_while_its_container_loads(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    pinged = threading.Event()

    @answers_everything
    def application(_request: Request) -> Answer:
        pinged.set()
        return 503, b""

    bench.runner.application = application
    bench.create()
    assert pinged.wait(30)
    bench.jobs.stop({"TransformJobName": "j"})
    assert bench.wait()["TransformJobStatus"] == "Stopped"


def test_closing_stops_every_job(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    application, begun, over = held()
    bench.runner.application = application
    bench.create("one")
    bench.create("two")
    assert begun.wait(30)
    bench.jobs.close()
    over.set()
    assert {job.status for job in bench.state.transform_jobs.values()} == {"Stopped"}


def test_an_error_of_ours_is_seen_in_the_job(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    put("s3://bkt/in", "1")

    def fail(_spec: ContainerSpec, *, on_line: Callable[[str], None]) -> Any:
        raise ZeroDivisionError("a bug")

    bench.runner.start = fail
    assert bench.run()["FailureReason"] == (
        "InternalServerError: the local SageMaker could not run the job: ZeroDivisionError: a bug"
    )
    assert "could not be run" in caplog.text


# The operations


def test_describe_answers_as_aws_does(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    description = bench.completed("Job-A")
    times = {name: description.pop(name) for name in ("CreationTime", "TransformStartTime", "TransformEndTime")}
    assert sorted(times.values()) == list(times.values())
    assert description == {
        "TransformJobName": "Job-A",
        "TransformJobArn": "arn:aws:sagemaker:us-east-1:123456789012:transform-job/job-a",
        "TransformJobStatus": "Completed",
        "ModelName": "m",
        "Environment": {},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bkt/in"}},
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {"S3OutputPath": "s3://bkt/out", "AssembleWith": "None", "KmsKeyId": ""},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
    }


def test_what_was_given_is_described(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    given: dict[str, Any] = {
        "MaxConcurrentTransforms": 2,
        "MaxPayloadInMB": 3,
        "BatchStrategy": "SingleRecord",
        "ModelClientConfig": {"InvocationsMaxRetries": 2},
        "Environment": {"A": "b"},
    }
    description = bench.completed(**given)
    assert {name: description[name] for name in given} == given


def test_jobs_are_listed_newest_first(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.completed("first")
    bench.runner.application = refusing(b"1")
    bench.run("second")
    summaries = bench.jobs.list_jobs({})["TransformJobSummaries"]
    assert [(entry["TransformJobName"], entry["TransformJobStatus"]) for entry in summaries] == [
        ("second", "Failed"),
        ("first", "Completed"),
    ]
    assert summaries[0]["FailureReason"] == f"ClientError: {FAILED}"
    assert "FailureReason" not in summaries[1]


def test_a_name_is_used_once(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    bench.completed()
    with pytest.raises(ServiceError) as error:
        bench.create()
    assert error.value.code == "ResourceInUse"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "none"}, 'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/none"'),
        ({"uri": "s3://bkt/nothing"}, 'No S3 objects found under S3 URL "s3://bkt/nothing"'),
        ({"uri": "s3://none/x"}, "No S3 objects found under S3 URL"),
        ({"uri": "s3://bkt/folder/"}, "there are only empty folders"),
        ({"output_path": "s3://none/x"}, 'The bucket "none" of TransformOutput.S3OutputPath'),
        ({"split": "RecordIO"}, "SplitType RecordIO is not supported by the local SageMaker: use None or Line"),
        ({"split": "TFRecord"}, "SplitType TFRecord is not supported by the local SageMaker"),
        ({"data_type": "AugmentedManifestFile"}, "S3DataType AugmentedManifestFile is not supported"),
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB 101"),
        ({"MaxPayloadInMB": 50, "MaxConcurrentTransforms": 3}, "MaxConcurrentTransforms 3: neither"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "DataProcessing reads"),
        ({"content_type": "text/\u20ac"}, r"TransformInput.ContentType 'text/\\u20ac' is no value of an HTTP header"),
        ({"accept": "a\r\nb"}, "TransformOutput.Accept .* is no value of an HTTP header"),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_call(changes: dict[str, Any], message: str, bench: Bench) -> None:
    put("s3://bkt/in", "1")
    put("s3://bkt/folder/", "")
    with pytest.raises(ServiceError, match=message) as error:
        bench.create(**changes)
    assert error.value.code == "ValidationException"
    assert bench.state.transform_jobs == {}


def test_two_objects_with_one_output_are_refused(bench: Bench) -> None:
    put("s3://bkt/in", "1")
    put("s3://bkt/in/in", "1")
    with pytest.raises(ServiceError, match=r'whose output would be "in.out"'):
        bench.create()


def test_an_unknown_job_is_a_validation_exception(bench: Bench) -> None:
    for operation in (bench.jobs.describe, bench.jobs.stop):
        with pytest.raises(ServiceError, match="Requested resource not found"):
            operation({"TransformJobName": "none"})


def test_every_operation_is_offered(bench: Bench) -> None:
    assert set(bench.jobs.operations()) == {
        "CreateTransformJob",
        "DescribeTransformJob",
        "ListTransformJobs",
        "StopTransformJob",
    }
    assert request()["ModelName"] == "m"
    assert echo(Request("/invocations", {}, b"x")) == (200, b"x")
