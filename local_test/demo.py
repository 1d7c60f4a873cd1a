"""The demo: train on MovieLens 100K through the SageMaker contract, serve the model, recommend films."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from demo_data import DemoError, above_two, movielens_100k, read_ratings, read_titles
from demo_runs import Containers, Processes, Runner, build_image, post, served, train

_IMAGE = "factorbox"
_CONTENT_TYPE = "application/jsonlines"
_FAVOURITE_USERS = ("685", "302")
_SHOWN_HISTORY = 10


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
    output: Path = options.output.absolute()
    base = output / "opt-ml"
    try:
        for folder in ("input/config", "input/data/training", "model", "output"):
            (base / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"cannot write to {output}: {error.strerror}; give another folder with --output") from None

    print("1. Data")
    ratings, titles = _read(options, output)
    kept = above_two(ratings)
    if kept.empty:
        raise DemoError("no row has a rating above 2: there is nothing to train on")
    kept[["user_id", "item_id"]].to_csv(base / "input/data/training/interactions.csv", index=False)
    (base / "input/config/hyperparameters.json").write_text("{}\n", encoding="utf-8")
    print(f"   {len(kept):,} of {len(ratings):,} rows kept: those rated above 2, user and item alone")

    runner = _runner(options)
    print("2. Training, with no hyperparameters at all")
    train(runner, base, log=output / "train.log")

    print("3. Serving")
    users = set(kept["user_id"])
    chosen = _FAVOURITE_USERS if users.issuperset(_FAVOURITE_USERS) else tuple(dict.fromkeys(ratings["user_id"]))[:2]
    requests = "\n".join(json.dumps({"user_id": user, "top_n": "5"}) for user in chosen)
    with served(runner, base, log=output / "serve.log") as address:
        print(f"   POST {address}/invocations\n   " + requests.replace("\n", "\n   "))
        answers = post(f"{address}/invocations", requests, content_type=_CONTENT_TYPE)
    (output / "requests.jsonl").write_text(requests, encoding="utf-8")
    (output / "answers.jsonl").write_text(answers, encoding="utf-8")

    for line in answers.splitlines():
        _show(json.loads(line), kept=kept, titles=titles)
    print(f"\nEverything is in {output}:")
    print("   opt-ml/          what a container sees as /opt/ml: input, model, output")
    print("   requests.jsonl   answers.jsonl   train.log   serve.log")


def _read(options: argparse.Namespace, output: Path) -> tuple[pd.DataFrame, Mapping[str, str]]:
    if options.data:
        print(f"   {options.data}")
        return read_ratings(options.data), read_titles(options.items) if options.items else {}
    print("   MovieLens 100K of GroupLens, for research use")
    ratings, items = movielens_100k(output / "ml-100k")
    return read_ratings(ratings), read_titles(items)


def _runner(options: argparse.Namespace) -> Runner:
    if not (options.docker or options.image):
        return Processes()
    if not options.image:
        print(f"   building the image {_IMAGE} (minutes the first time, seconds later)", flush=True)
        build_image(_IMAGE)
    return Containers(options.image or _IMAGE)


def _show(answer: Mapping[str, Any], *, kept: pd.DataFrame, titles: Mapping[str, str]) -> None:
    """Print a user's history, best rated first, and the recommendations."""
    user = answer["user_id"]
    history = kept[kept["user_id"] == user]
    print(f"\nUser {user} has {len(history)} films" + (", best rated first:" if "rating" in kept else ":"))
    marks = history["rating"] if "rating" in kept else [""] * len(history)
    for item, mark in list(zip(history["item_id"], marks, strict=True))[:_SHOWN_HISTORY]:
        print(f"   {mark:>4}  {titles.get(item, item)}")
    if len(history) > _SHOWN_HISTORY:
        print(f"         and {len(history) - _SHOWN_HISTORY} more")
    print("and may like:")
    for place, recommended in enumerate(answer["recommendations"], start=1):
        item = recommended["item_id"]
        print(f"   {place:>3}.  {titles.get(item, item)}  ({recommended['score']:.3f})")


if __name__ == "__main__":
    sys.exit(main())
