"""factorbox: implicit-feedback factorization behind the Amazon SageMaker container contract."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factorbox.recommender import Recommender

__version__ = "0.1.0"


def load(path: str | os.PathLike[str]) -> Recommender:
    """Load a fitted model.

    The files of a folder are mapped where they are. An archive, and what comes from S3, is unpacked into a temporary
    folder (below `TMPDIR`, where that is set), which has no name any more when this returns, and whose space is free
    again when the model is no longer used.

    Parameters
    ----------
    path
        A model folder; a `model.tar.gz`, as training jobs leave it; or the `s3://` URI of such an archive
        (`.tar.gz`, `.tgz` or `.tar`), or else of a prefix below which the files of a model folder lie. S3 is read by
        boto3, which finds credentials, region and `AWS_ENDPOINT_URL` by itself. `~` is the home folder.

    Returns
    -------
    factorbox.recommender.Recommender
        The model.

    Raises
    ------
    UserError
        Where there is nothing at `path`, or it is no model; the message says what was found.
    PlatformError
        Where a model is damaged or of a newer format, or something cannot be read or unpacked.

    Examples
    --------
    >>> import factorbox
    >>> factorbox.load("model.tar.gz")
    <Recommender: als, 3 users, 4 items, d=2>
    """
    # Here, because numba and torch take seconds, which whoever asks for the version need not wait.
    from factorbox import loading

    return loading.load(path)
