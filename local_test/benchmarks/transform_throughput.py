"""Lines a second of a transform job through the whole path, and which side of it the time goes to.

    cd local_test && python -m benchmarks.transform_throughput

A local SageMaker with the process runner trains factorbox on generated data and transforms one object of requests, by
each batch strategy. The client side is this process: S3, splitting, HTTP, assembling. The container side is `serve`
with its workers. A job of one request comes first: what it costs is the container's start and end, and is left out.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from local_sagemaker import LocalSageMaker

BUCKET = "throughput"
STRATEGIES = ("MultiRecord", "SingleRecord")

_INSTANCE = {"InstanceType": "ml.m5.large", "InstanceCount": 1}


@dataclass(frozen=True)
class Costs:
    """Seconds.

    Attributes
    ----------
    wall
        Of the clock.
    client, container
        Processor time of either side.
    """

    wall: float
    client: float
    container: float

    @classmethod
    def so_far(cls) -> Self:
        """Return what this process and its ended children have used."""
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(time.monotonic(), time.process_time(), children.ru_utime + children.ru_stime)

    def __sub__(self, other: Costs) -> Costs:
        return Costs(self.wall - other.wall, self.client - other.client, self.container - other.container)


def main() -> None:
    """Train, transform, measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transform_throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--requests", type=int, default=200_000, help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=20_000, help="of the model (default: %(default)s)")
    parser.add_argument("--items", type=int, default=5_000, help="of the model (default: %(default)s)")
    parser.add_argument("--top-n", type=int, default=10, help="items of each answer (default: %(default)s)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as local:
        _train(local, rng, users=arguments.users, items=arguments.items)
        asked = rng.integers(arguments.users, size=arguments.requests)
        lines = b"".join(b'{"user_id": "u%d", "top_n": %d}\n' % (user, arguments.top_n) for user in asked)
        storage = local.client("s3")
        storage.put_object(Bucket=BUCKET, Key="one.jsonl", Body=lines[: lines.index(b"\n") + 1])
        storage.put_object(Bucket=BUCKET, Key="all.jsonl", Body=lines)
        print(f"{arguments.requests:,} requests for {arguments.top_n} items each; {os.cpu_count()} processors")
        print("strategy       lines/s  seconds  client CPU  container CPU  busy processors  most CPU time")
        for strategy in STRATEGIES:
            start = _transform(local, "one.jsonl", strategy=strategy, lines=1)
            whole = _transform(local, "all.jsonl", strategy=strategy, lines=len(asked))
            _print_row(strategy, whole - start, lines=len(asked))


def _print_row(strategy: str, costs: Costs, *, lines: int) -> None:
    both = costs.client + costs.container
    side, most = max(("client", costs.client), ("container", costs.container), key=lambda pair: pair[1])
    print(
        f"{strategy:12} {lines / costs.wall:9,.0f} {costs.wall:8.1f} {costs.client:9.1f} s {costs.container:12.1f} s "
        f"{both / costs.wall:16.1f}  {side} ({most / both:.0%})",
        flush=True,
    )


def _train(local: LocalSageMaker, rng: np.random.Generator, *, users: int, items: int) -> None:
    """Train on 20 rows a user, drawn with the skew of real items, and create the model."""
    ranks = rng.zipf(1.3, size=(users, 20)) % items
    rows = b"".join(b"u%d,i%d\n" % (user, item) for user, row in enumerate(ranks) for item in row)
    local.client("s3").put_object(Bucket=BUCKET, Key="training/rows.csv", Body=b"user_id,item_id\n" + rows)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/training"}}
    sagemaker = local.client("sagemaker")
    sagemaker.create_training_job(
        TrainingJobName="model",
        RoleArn=local.role,
        AlgorithmSpecification={"TrainingImage": "factorbox", "TrainingInputMode": "File"},
        HyperParameters={"epochs": "3"},
        InputDataConfig=[{"ChannelName": "training", "DataSource": source}],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
        ResourceConfig={**_INSTANCE, "VolumeSizeInGB": 10},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
    )
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="model")
    data = f"s3://{BUCKET}/models/model/output/model.tar.gz"
    sagemaker.create_model(ModelName="model", PrimaryContainer={"Image": "factorbox", "ModelDataUrl": data})


def _transform(local: LocalSageMaker, key: str, *, strategy: str, lines: int) -> Costs:
    """Run a job and return its costs; its answers have as many lines as there are requests."""
    name = f"{strategy}-{key.removesuffix('.jsonl')}"
    sagemaker = local.client("sagemaker")
    before = Costs.so_far()
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName="model",
        BatchStrategy=strategy,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{key}"}},
            "ContentType": "application/jsonlines",
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": f"s3://{BUCKET}/{name}",
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
        },
        TransformResources=_INSTANCE,
    )
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName=name)
    costs = Costs.so_far() - before
    answers = local.client("s3").get_object(Bucket=BUCKET, Key=f"{name}/{key}.out")["Body"]
    answered = sum(chunk.count(b"\n") for chunk in _chunks(answers))
    if answered != lines:
        raise SystemExit(f"{name} answered {answered:,} lines to {lines:,} requests")
    return costs


def _chunks(body: Any) -> Iterator[bytes]:
    return iter(lambda: body.read(1024 * 1024), b"")


if __name__ == "__main__":
    main()
