"""What users write with the SageMaker SDK v2; run by its own python, since the SDK is not among factorbox's pins.

Nothing in here knows of a local SageMaker: environment variables are all that makes it run against one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import boto3
import sagemaker
from sagemaker.deserializers import JSONLinesDeserializer
from sagemaker.estimator import Estimator
from sagemaker.serializers import JSONLinesSerializer

REQUESTS = '{"user_id": "u0", "top_n": "5"}\n{"user_id": "u1", "top_n": "2"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=("notebook", "estimator"))
    parser.add_argument("--image", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="has interactions.csv")
    parser.add_argument("--role", help="where get_execution_role() has nobody to ask")
    options = parser.parse_args()
    role = options.role or sagemaker.get_execution_role()
    assert role.startswith("arn:aws:iam::")
    program = notebook if options.program == "notebook" else estimator
    program(options.folder, image=options.image, role=role)


def notebook(folder: Path, *, image: str, role: str) -> None:
    """The cells of a public notebook for such a container: boto3's requests are those that it sends."""
    session = sagemaker.Session()
    bucket = session.default_bucket()
    prefix = "recommender"
    train_input = session.upload_data(str(folder / "interactions.csv"), bucket=bucket, key_prefix=f"{prefix}/training")

    client = boto3.client("sagemaker")
    job_name = f"notebook-{time.strftime('%Y-%m-%d-%H-%M-%S', time.gmtime())}"
    client.create_training_job(
        TrainingJobName=job_name,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        RoleArn=role,
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/{prefix}/output"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.c4.xlarge", "VolumeSizeInGB": 50},
        StoppingCondition={"MaxRuntimeInSeconds": 360000},
        InputDataConfig=[
            {
                "ChannelName": "training",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": train_input,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "ContentType": "application/csv",
                "CompressionType": "None",
            }
        ],
    )
    assert client.describe_training_job(TrainingJobName=job_name)["TrainingJobStatus"] == "InProgress"
    client.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=job_name)
    training = client.describe_training_job(TrainingJobName=job_name)
    assert training["TrainingJobStatus"] == "Completed", training.get("FailureReason")

    client.create_model(
        ModelName=job_name,
        ExecutionRoleArn=role,
        PrimaryContainer={"Image": image, "ModelDataUrl": training["ModelArtifacts"]["S3ModelArtifacts"]},
    )

    requests = folder / "recommendation.requests"
    requests.write_text(REQUESTS)
    batch_input = f"{prefix}/batch_input"
    boto3.resource("s3").Bucket(bucket).Object(f"{batch_input}/{requests.name}").upload_file(str(requests))
    client.create_transform_job(
        TransformJobName=job_name,
        ModelName=job_name,
        MaxConcurrentTransforms=1,
        BatchStrategy="SingleRecord",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{batch_input}"}},
            "ContentType": "application/json",
            "CompressionType": "None",
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": f"s3://{bucket}/{prefix}/batch_output",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": "ml.c4.xlarge", "InstanceCount": 1},
    )
    while True:
        transform = client.describe_transform_job(TransformJobName=job_name)
        if transform["TransformJobStatus"] in ("Completed", "Failed"):
            break
        # The notebook sleeps for 30 seconds here.
        time.sleep(1)
    assert transform["TransformJobStatus"] == "Completed", transform.get("FailureReason")

    answers = folder / "recommendation.requests.out"
    boto3.client("s3").download_file(bucket, f"{prefix}/batch_output/{answers.name}", str(answers))
    rows = [line.split(",") for line in answers.read_text().split("\n")]
    assert [row[0] for row in rows] == ["u0"] * 5 + ["u1"] * 2 + [""]
    assert all(float(score) > -1 for _, _, score in rows[:-1])


def estimator(folder: Path, *, image: str, role: str) -> None:
    """The SDK's own classes: train with logs, transform, deploy, predict, delete, attach."""
    session = sagemaker.Session()
    inputs = session.upload_data(str(folder / "interactions.csv"), key_prefix="sdk/training")
    fitted = Estimator(
        image_uri=image,
        role=role,
        instance_count=1,
        instance_type="ml.m5.large",
        output_path=f"s3://{session.default_bucket()}/sdk/output",
        base_job_name="sdk",
        # The SDK sends all of them as text.
        hyperparameters={"algorithm": "bpr", "epochs": 2, "embedding_dim": 8, "learning_rate": 0.05},
        metric_definitions=[{"Name": "train:loss", "Regex": r"train_loss=([0-9.eE+-]+)"}],
        sagemaker_session=session,
    )
    fitted.fit({"training": inputs}, logs="All")
    name = fitted.latest_training_job.name
    assert fitted.model_data == f"s3://{session.default_bucket()}/sdk/output/{name}/output/model.tar.gz"
    metrics = fitted.training_job_analytics.dataframe()
    assert set(metrics["metric_name"]) == {"train:loss"} and (metrics["value"] > 0).all()

    requests = folder / "requests.jsonl"
    requests.write_text(REQUESTS)
    transformer = fitted.transformer(
        instance_count=1,
        instance_type="ml.m5.large",
        strategy="MultiRecord",
        assemble_with="Line",
        accept="application/jsonlines",
        output_path=f"s3://{session.default_bucket()}/sdk/answers",
    )
    transformer.transform(
        session.upload_data(str(requests), key_prefix="sdk/requests"),
        content_type="application/jsonlines",
        split_type="Line",
        wait=True,
        logs=True,
    )
    session.download_data(str(folder), bucket=session.default_bucket(), key_prefix="sdk/answers/requests.jsonl.out")
    answers = [json.loads(line) for line in (folder / "requests.jsonl.out").read_text().splitlines()]
    assert [(answer["user_id"], len(answer["recommendations"])) for answer in answers] == [("u0", 5), ("u1", 2)]

    predictor = fitted.deploy(
        initial_instance_count=1,
        instance_type="ml.m5.large",
        serializer=JSONLinesSerializer(),
        deserializer=JSONLinesDeserializer(),
    )
    try:
        assert predictor.predict([json.loads(line) for line in REQUESTS.splitlines()]) == answers
    finally:
        predictor.delete_endpoint()

    attached = Estimator.attach(name, sagemaker_session=session)
    assert attached.model_data == fitted.model_data
    assert attached.hyperparameters()["epochs"] == "2"


if __name__ == "__main__":
    main()
