"""Another list of unavailable items between two trainings: the model is packed anew, not trained anew.

This step alone knows factorbox, whose model it opens; it is imported only where the step is asked for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import ModuleType

from pipeline_steps import storage
from pipeline_steps.aws import Clients
from pipeline_steps.errors import InputRefusedError
from pipeline_steps.made import Made
from pipeline_steps.options import Options
from pipeline_steps.progress import TRAINING, say
from pipeline_steps.training import Trained


def fetch_list(clients: Clients, options: Options, *, scratch: Path) -> Path:
    """Return the list of `--available` as a file of this machine, checked as far as can be without the model.

    Raises
    ------
    InputRefusedError
        Where it is no such list, or there is no factorbox here to use it.
    """
    assert options.available is not None
    file = Path(options.available)
    if storage.is_uri(options.available):
        file = scratch / "list" / PurePosixPath(options.available).name
        storage.fetch_object(clients.s3, options.available, file)
    with _factorbox() as repacking:
        from factorbox.contract.hyperparameters import Hyperparameters
        from factorbox.data.columns import ReadOptions

        given = options.hyperparameters
        if options.from_job:
            given = TRAINING.call("describe", clients, options.from_job).get("HyperParameters", {})
        # How the items are called in another model, it says itself; that one is opened before anything is made.
        if not options.from_model:
            repacking.read_available(file, options=Hyperparameters(given).take(ReadOptions))
    return file


def repack(clients: Clients, options: Options, trained: Trained, *, listed: Path, work: str, made: Made) -> str:
    """Upload the model with another list of unavailable items, the job's output.tar.gz beside it; return its URI.

    Parameters
    ----------
    listed
        What `fetch_list` returned.

    Raises
    ------
    InputRefusedError
        Where the model is not of factorbox, or the list is not for it.
    """
    folder_uri = f"{work}/{options.name}/model/"
    say(f"Packing {trained.model_data} anew, with the list {options.available}")
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model.tar.gz"
        storage.fetch_object(clients.s3, trained.model_data, model)
        with _factorbox() as repacking:
            done = repacking.with_available(model, available=listed, target=model)
        storage.upload(clients.s3, model, folder_uri, kms_key=options.kms_key, uploaded=made.objects)
    say(f"   {done.unavailable:,} of {done.items:,} items unavailable; {done.unknown:,} of the list not in the model")
    again = Trained(model_data=f"{folder_uri}{model.name}", metrics={})
    # The requests for all users are looked for beside the model, also by a later run with --from-model.
    if trained.output_data in storage.list_objects(clients.s3, trained.output_data):
        storage.copy(clients.s3, trained.output_data, again.output_data, kms_key=options.kms_key, uploaded=made.objects)
    return again.model_data


@contextmanager
def _factorbox() -> Iterator[ModuleType]:
    """Import what opens models; its errors within the block become ours."""
    try:
        from factorbox import repacking
        from factorbox.errors import FactorboxError
    except ImportError as error:
        raise InputRefusedError(
            f"--available needs factorbox here, to open the model: install it (pip install -e .), or leave --available"
            f" out ({error})"
        ) from error
    try:
        yield repacking
    except FactorboxError as error:
        raise InputRefusedError(f"--available: {error}") from error
