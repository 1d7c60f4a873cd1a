"""The demo: the whole batch pipeline on MovieLens 100K, on a local SageMaker, and two users' films with titles."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from demo_data import DemoError, above_two, has_times, movielens_100k, read_ratings, read_titles
from factorbox.commands.metric_definitions import metric_definitions
from local_sagemaker import LocalSageMaker
from local_sagemaker.docker_cli import engine_problem
from pipeline_steps import storage
from pipeline_steps.report import NUMBERS, PAGE

_CHECKOUT = Path(__file__).resolve().parent.parent
_PIPELINE = _CHECKOUT / "local_test/pipeline.py"
_IMAGE = "factorbox"
_BUCKET = "factorbox-demo"
_NAME = "demo"
_BASE = "opt_ml"
"""What stands for /opt/ml where the model of a run is served."""

_FAVOURITE_USERS = ("685", "302")
_SHOWN_HISTORY = 10
_TOP_N = 5
_END_SECONDS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        _demo(options)
    except DemoError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("demo: interrupted\n")
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="local_test/demo.sh", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="FILE", help="ratings of your own: like u.data or ratings.csv")
    parser.add_argument("--items", type=Path, metavar="FILE", help="their titles: like u.item or movies.csv")
    parser.add_argument("--docker", action="store_true", help="build the image and run it, instead of processes")
    parser.add_argument("--image", help="with --docker: an image that is there already, which is then not built")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        default=Path(__file__).resolve().parent / "demo_output",
        help="where everything is left (default: %(default)s)",
    )
    return parser


def _demo(options: argparse.Namespace) -> None:
    if options.items and not options.data:
        raise DemoError("--items goes with --data: give both, or --data alone")
    _forget_aws()
    output: Path = options.output.absolute()
    try:
        output.mkdir(parents=True, exist_ok=True)
        kept, titles, users = _prepare(options, output)
    except OSError as error:
        raise DemoError(f"cannot write to {output}: {error.strerror}; give another folder with --output") from None

    docker = bool(options.docker or options.image)
    if docker and (problem := engine_problem()):
        raise DemoError(f"{problem}; without --docker no Docker is needed")
    if docker and not options.image:
        print(f"   building the image {_IMAGE} (minutes the first time, seconds later)", flush=True)
        _build_image()
    with LocalSageMaker(
        runner="docker" if docker else "process",
        images={_IMAGE: options.image or _IMAGE},
        container=_CHECKOUT / "container",
        bucket=_BUCKET,
        quiet=True,
    ) as local:
        containers = "containers" if docker else "processes"
        print(f"2. A local SageMaker, for as long as this takes: {local.url}, with {containers}")
        print("3. The batch pipeline: S3, training job, model, batch transform job", flush=True)
        try:
            _run_pipeline(local, output)
        finally:
            storage.fetch(local.client("s3"), f"s3://{_BUCKET}/", output / "s3")

    recommended = pd.read_csv(output / "recommendations/recommendations.csv", dtype=str, keep_default_na=False)
    for user, rows in recommended.groupby("user_id", sort=False):
        _show(str(user), rows, kept=kept, titles=titles)
    _lay_out(output)
    print(f"\nEverything is in {output}:")
    print("   interactions.csv  items.csv  requests.jsonl    what went in")
    print("   metric_definitions.json                        what SageMaker finds in the log of the job")
    print("   s3/                                            what was in the bucket: model.tar.gz, answers and all")
    print("   recommendations/recommendations.csv            the answers with titles")
    print("   pipeline.log                                   what the pipeline said")
    print("   opt_ml/model/                                  the model, unpacked")
    page = output / "recommendations" / PAGE
    if page.is_file():
        print("\nHow good the model is and what it has learned, for a browser:")
        print(f"   {page.as_uri()}")
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT") or "8080"
    print("\nTo look at the model in a browser, serve it and open this address; Ctrl-C ends it:")
    print(f"   {_serving(output)}")
    print(f"   http://localhost:{port}/#user={quote(users[0], safe='')}")


def _forget_aws() -> None:
    """Take out of the environment what could stand between this machine and itself: profiles, endpoints, proxies."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))


def _prepare(options: argparse.Namespace, output: Path) -> tuple[pd.DataFrame, Mapping[str, str], tuple[str, ...]]:
    """Write what the pipeline takes, and return the interactions, the titles, and the users that are asked for."""
    print("1. Data")
    if options.data:
        print(f"   {options.data}")
        ratings, titles = read_ratings(options.data), read_titles(options.items) if options.items else {}
    else:
        print("   MovieLens 100K of GroupLens, for research use")
        ratings_file, items_file = movielens_100k(output / "ml-100k")
        ratings, titles = read_ratings(ratings_file), read_titles(items_file)
    kept = above_two(ratings)
    if kept.empty:
        raise DemoError("no row has a rating above 2: there is nothing to train on")
    times = has_times(kept)
    kept[["user_id", "item_id", *(["timestamp"] if times else [])]].to_csv(output / "interactions.csv", index=False)
    (output / "metric_definitions.json").write_text(json.dumps(metric_definitions(), indent=1), encoding="utf-8")
    for name in (PAGE, NUMBERS):
        # That of an earlier run would be taken for this one's.
        (output / "recommendations" / name).unlink(missing_ok=True)
    pd.DataFrame({"item_id": list(titles), "title": list(titles.values())}).to_csv(output / "items.csv", index=False)
    what = "user, item and time" if times else "user and item"
    print(f"   {len(kept):,} of {len(ratings):,} rows kept: those rated above 2, {what} alone")
    users = set(kept["user_id"])
    chosen = _FAVOURITE_USERS if users.issuperset(_FAVOURITE_USERS) else tuple(dict.fromkeys(ratings["user_id"]))[:2]
    lines = [json.dumps({"user_id": user, "top_n": str(_TOP_N)}, ensure_ascii=False) for user in chosen]
    (output / "requests.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return kept, titles, chosen


def _build_image() -> None:
    """Build the image from the Dockerfile of this checkout; TORCH_INDEX is handed on where it is set."""
    build = ["docker", "build", "--quiet", "--tag", _IMAGE]
    if "TORCH_INDEX" in os.environ:
        build += ["--build-arg", f"TORCH_INDEX={os.environ['TORCH_INDEX']}"]
    if subprocess.run([*build, str(_CHECKOUT)], stdout=subprocess.DEVNULL).returncode != 0:
        raise DemoError("the image could not be built; the messages are above")


def _run_pipeline(local: LocalSageMaker, output: Path) -> None:
    """Run pipeline.py as anybody would: only environment variables tell this from AWS."""
    files = {name: output / file for name, file in _FILES.items()}
    arguments = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    arguments += ["--image", _IMAGE, "--role", local.role, "--s3", f"s3://{_BUCKET}", "--name", _NAME, "--show", "0"]
    print(f"   pipeline.py {shlex.join(arguments)}\n", flush=True)
    process = subprocess.Popen(
        [sys.executable, str(_PIPELINE), *arguments],
        env={**os.environ, **local.environment()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Ctrl-C is for the demo, which then ends the pipeline in order.
        start_new_session=True,
    )
    complaint = "the pipeline failed"
    try:
        assert process.stdout is not None
        with (output / "pipeline.log").open("w", encoding="utf-8") as log, process.stdout:
            for line in process.stdout:
                log.write(line)
                print(f"   {line}", end="", flush=True)
                if line.startswith("pipeline: ") and complaint == "the pipeline failed":
                    complaint = line.removeprefix("pipeline: ").rstrip()
        code = process.wait()
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if code != 0:
        raise DemoError(complaint)


_FILES = {
    "training": "interactions.csv",
    "requests": "requests.jsonl",
    "items": "items.csv",
    "metric-definitions": "metric_definitions.json",
    "output": "recommendations",
}
"""What the pipeline takes and leaves, by its options."""


def _lay_out(output: Path) -> None:
    """Unpack the model of the run as SageMaker does before it serves one."""
    model = output / _BASE / "model"
    if model.exists():
        shutil.rmtree(model)
    with tarfile.open(output / "s3" / _NAME / "output/model.tar.gz") as archive:
        archive.extractall(model, filter="data")


def _serving(output: Path) -> str:
    """Return the command that serves the model, to be given in this folder."""
    base, python, serve = (
        shlex.quote(os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path))
        for path in (output / _BASE, Path(sys.executable), _CHECKOUT / "container/serve")
    )
    return f"SAGEMAKER_BASE_DIR={base} {python} {serve}"


def _show(user: str, recommended: pd.DataFrame, *, kept: pd.DataFrame, titles: Mapping[str, str]) -> None:
    """Print a user's history, best rated first, and the recommendations."""
    history = kept[kept["user_id"] == user]
    print(f"\nUser {user} has {len(history)} films" + (", best rated first:" if "rating" in kept else ":"))
    marks = history["rating"] if "rating" in kept else [""] * len(history)
    for item, mark in list(zip(history["item_id"], marks, strict=True))[:_SHOWN_HISTORY]:
        print(f"   {mark:>4}  {titles.get(item, item)}")
    if len(history) > _SHOWN_HISTORY:
        print(f"         and {len(history) - _SHOWN_HISTORY} more")
    print("and may like:")
    rows = zip(recommended["item_id"], recommended["score"], recommended["title"], strict=True)
    for place, (item, score, title) in enumerate(rows, start=1):
        print(f"   {place:>3}.  {title or item}  ({float(score):.3f})")


if __name__ == "__main__":
    sys.exit(main())
