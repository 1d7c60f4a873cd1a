"""The S3-driven batch pipeline: train, create the model, transform, fetch; see `pipeline.py --help`.

It is plain boto3, so the same command runs on AWS and, with `--endpoint-url`, on a local SageMaker; and it knows the
SageMaker contract only, so it drives any image that reads the channel `training` and answers batch transform jobs; only
`--available` opens a model, which has to be of factorbox.
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # The imports take a while; until `main` can clean up, Ctrl-C just ends the program, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline_steps import availability, storage
from pipeline_steps.answers import join, read_titles, show_lines, show_table
from pipeline_steps.attempts import attempt
from pipeline_steps.aws import Clients, default_work_uri
from pipeline_steps.comparison import require_no_drop
from pipeline_steps.errors import InputRefusedError, JobFailedError
from pipeline_steps.made import Made
from pipeline_steps.options import Options, read_options
from pipeline_steps.progress import TRAINING, say
from pipeline_steps.report import fetch_report, show_quality
from pipeline_steps.training import Trained, of_model, output_data, take_up, train
from pipeline_steps.transform import create_model, prepare_requests, transform

_JOINED = "recommendations.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pipeline and return the exit code."""
    options = read_options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Made()

    def run() -> None:
        clients = Clients.connect(endpoint_url=options.endpoint_url, region=options.region)
        with tempfile.TemporaryDirectory(prefix="pipeline-") as scratch:
            _run(clients, options, made=made, scratch=Path(scratch))

    def clean_up() -> None:
        made.delete(Clients.connect(endpoint_url=options.endpoint_url, region=options.region))

    code = attempt(run, program="pipeline")
    if options.clean_up:
        cleaned = attempt(clean_up, program="pipeline")
        return code or cleaned
    if code and made.resume:
        sys.stderr.write(f"pipeline: to go on from here: {made.resume}\n")
    return code


def _run(clients: Clients, options: Options, *, made: Made, scratch: Path) -> None:
    work = (options.s3 or default_work_uri(clients)).rstrip("/")
    titles = _titles(clients, options, scratch=scratch)
    listed = availability.fetch_list(clients, options, scratch=scratch) if options.available else None
    _check(clients, options, work=work)

    earlier = _earlier(clients, options.compare_with) if options.compare_with else None
    trained = _trained(clients, options, work=work, made=made)
    if not options.from_model:
        show_quality(trained.metrics)
        fetch_report(clients.s3, trained.output_data, options.output)
    if earlier is not None:
        say(f"Compared with {options.compare_with}")
        require_no_drop(clients.s3, trained, earlier, max_drop=options.max_drop)

    model_data = trained.model_data
    if listed is not None:
        model_data = availability.repack(clients, options, trained, listed=listed, work=work, made=made)
    model = options.from_model
    if model is None or listed is not None:
        model = create_model(clients, options, trained, model_data=model_data, made=made)
    requests = prepare_requests(clients, options, output_data=trained.output_data, work=work, made=made)
    answers = transform(clients, options, model=model, requests=requests, work=work, made=made)
    files = storage.fetch(clients.s3, answers, options.output)
    say(f"Answers: {answers}, fetched into {options.output}")
    _show(files, options, titles=titles)


def _check(clients: Clients, options: Options, *, work: str) -> None:
    """Refuse now what would be refused after an hour of training."""
    for path in (options.training, options.requests):
        if path and not storage.is_uri(path):
            storage.local_files(Path(path))
        elif path and not storage.list_objects(clients.s3, path):
            raise InputRefusedError(f"there is no object whose name begins with {path}")
    # What this run's jobs write is told from what was there by this alone.
    if storage.list_objects(clients.s3, f"{work}/{options.name}/"):
        raise InputRefusedError(f"{work}/{options.name}/ is in use already: give another --name")
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputRefusedError(f"cannot write to {options.output}: {error.strerror}; give another --output") from error


def _trained(clients: Clients, options: Options, *, work: str, made: Made) -> Trained:
    if options.from_model:
        say(f"Model {options.from_model}, as it is")
        return of_model(clients, options.from_model)
    if options.from_job:
        return take_up(clients, options.from_job)
    try:
        return train(clients, options, work=work, made=made)
    except JobFailedError:
        # What a job that failed has written is kept too: the report tells why a model was not good enough.
        fetch_report(clients.s3, output_data(f"{work}/{options.name}/output"), options.output)
        raise


def _earlier(clients: Clients, name: str) -> Trained:
    try:
        return Trained.of_job(TRAINING.call("describe", clients, name))
    except JobFailedError as error:
        raise InputRefusedError(f"nothing to compare with: {error}") from error


def _titles(clients: Clients, options: Options, *, scratch: Path) -> Mapping[str, str] | None:
    if not options.items:
        return None
    file = Path(options.items)
    if storage.is_uri(options.items):
        file = scratch / "items" / PurePosixPath(options.items).name
        storage.fetch_object(clients.s3, options.items, file)
        if options.training and len(storage.list_objects(clients.s3, options.items)) > 1:
            # A channel is a prefix: the others would be read with it.
            raise InputRefusedError(f"other objects' names begin with {options.items} too: give it a prefix of its own")
    if file.is_dir():
        raise InputRefusedError(f"--items {options.items} is a folder: give one CSV file")
    given = options.hyperparameters
    titles = read_titles(file, item_column=given.get("item_column"), delimiter=given.get("delimiter", ","))
    if titles is None and not options.training:
        raise InputRefusedError(f"{options.items} has no column title, and so nothing to join to the answers")
    return titles


def _show(files: Sequence[Path], options: Options, *, titles: Mapping[str, str] | None) -> None:
    joined = options.output / _JOINED
    try:
        shown = join(files, joined, accept=options.accept, titles=titles, show=options.show)
    except ValueError as error:
        # Another image's answers: they are as good, there is only no table to make of them.
        joined.unlink()
        say(f"{error}; it begins so:")
        show_lines(files[0])
        return
    say(f"All of them in one table: {joined}")
    show_table(shown)


if __name__ == "__main__":
    sys.exit(main())
