"""What ends the pipeline early, each with the exit code that tells a script what happened."""

from __future__ import annotations


class PipelineError(Exception):
    """A sentence for whoever runs the pipeline."""

    exit_code = 1


class InputRefusedError(PipelineError):
    """An option, a file or a request was refused: change it and run again."""

    exit_code = 2


class JobFailedError(PipelineError):
    """A training or transform job ended without its result."""

    exit_code = 3


class GateClosedError(PipelineError):
    """The new model was trained on much less than the earlier one, so it answers nobody."""

    exit_code = 4
