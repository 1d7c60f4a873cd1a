"""Hyperparameters searched with Optuna over training jobs; see `tune.py --help`.

It is plain boto3, so the same command runs on AWS and, with `--endpoint-url`, on a local SageMaker. The best is written
as `hyperparameters.json`, which `train` and `pipeline.py --hyperparameters` take as it is.
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # The imports take a while; until `main` can clean up, Ctrl-C just ends the program, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline_steps import storage
from pipeline_steps.attempts import attempt
from pipeline_steps.aws import Clients, default_work_uri, role_arn
from pipeline_steps.errors import InputRefusedError
from pipeline_steps.made import Made
from pipeline_steps.progress import say
from pipeline_steps.training import in_s3
from pipeline_steps.tuning import Search, check_writable
from pipeline_steps.tuning_options import TuneOptions, read_tune_options
from pipeline_steps.tuning_plan import Plan, plan_of, tuning_job


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search and return the exit code."""
    options = read_tune_options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    made = Made()

    def run() -> None:
        plan = plan_of(options)
        if options.ranges:
            say(json.dumps(tuning_job(plan, options), indent=2))
        else:
            _search(options, plan, made=made)

    def clean_up() -> None:
        made.delete(Clients.connect(endpoint_url=options.endpoint_url, region=options.region))

    code = attempt(run, program="tune")
    if options.clean_up and not options.ranges:
        cleaned = attempt(clean_up, program="tune")
        return code or cleaned
    return code


def _search(options: TuneOptions, plan: Plan, *, made: Made) -> None:
    check_writable(options.output)
    clients = Clients.connect(endpoint_url=options.endpoint_url, region=options.region)
    assert options.role is not None
    role = role_arn(clients, options.role)
    work = f"{(options.s3 or default_work_uri(clients)).rstrip('/')}/{options.name}"
    given = {"training": options.training, "validation": options.validation, "items": options.items}
    for path in filter(None, given.values()):
        if not storage.is_uri(path):
            storage.local_files(Path(path))
        elif not storage.list_objects(clients.s3, path):
            raise InputRefusedError(f"there is no object whose name begins with {path}")
    # What this run's jobs write is told from what was there by this alone.
    if storage.list_objects(clients.s3, f"{work}/"):
        raise InputRefusedError(f"{work}/ is in use already: give another --name")
    channels = {
        name: in_s3(clients, options, path, folder_uri=f"{work}/{name}/", made=made)
        for name, path in given.items()
        if path
    }
    search = Search(clients, options, plan, made=made)
    say(f"Searching {', '.join(plan.space)} of {plan.kept['algorithm']} by {plan.metric}: {options.trials} trials")
    try:
        search.run(channels=channels, work=work, role=role)
    finally:
        if search.best is not None:
            best = search.best
            say(f"Best: trial {best.trial}, {plan.metric}={best.value:.6g}; its hyperparameters: {options.output}")
            for name, value in best.hyperparameters.items():
                say(f"   {name}={value}")


if __name__ == "__main__":
    sys.exit(main())
