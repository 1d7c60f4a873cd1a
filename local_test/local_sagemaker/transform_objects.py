"""The objects of one instance: each is cut into requests, answered by the container, and stored whole or not at all.

Requests run at once up to the instance's concurrency, also over the end of an object; what is written keeps the order
of the input.
"""

from __future__ import annotations

import gzip
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from local_sagemaker.data_log import DataLog
from local_sagemaker.errors import ServiceError
from local_sagemaker.execution_parameters import ExecutionParameters
from local_sagemaker.model_client import InvocationError, ModelClient
from local_sagemaker.ordered_work import OrderedWork
from local_sagemaker.splitting import BLOCK_BYTES, ObjectError, Payload, reading, split_object
from local_sagemaker.storage import S3Object, Storage
from local_sagemaker.transform_request import TransformPlan

_FAILURE = "See job logs for more information"


class _Output:
    """What becomes of one object, in a temporary file until it is complete."""

    def __init__(self, entry: S3Object, *, spool: Path) -> None:
        self.entry = entry
        self.failed = False
        self.answers = 0
        self.answers_with_newline = 0
        # Closed, and removed, by whoever completes the object or ends the work.
        self.file = tempfile.NamedTemporaryFile(dir=spool)  # noqa: SIM115

    def append(self, body: IO[bytes], *, newline: bool) -> None:
        """Write one answer."""
        last = b""
        while block := body.read(BLOCK_BYTES):
            self.file.write(block)
            last = block[-1:]
        self.answers += 1
        self.answers_with_newline += last == b"\n"
        if newline:
            self.file.write(b"\n")


@dataclass(frozen=True, eq=False)
class _Task:
    output: _Output
    payload: Payload | None
    """``None`` at the end of the object."""


@dataclass(frozen=True, eq=False)
class _Answer:
    output: _Output
    body: IO[bytes] | None = None
    """``None`` where there is nothing to write."""
    ends_object: bool = False


class ObjectTransforms:
    """Transforms a list of objects with one container.

    Parameters
    ----------
    plan
        What is done with each.
    parameters
        How the container is driven.
    client
        Sends the requests.
    storage
        Where objects are read and stored.
    data_log
        Where failures are told.
    spool
        A folder for temporary files.
    """

    def __init__(
        self,
        *,
        plan: TransformPlan,
        parameters: ExecutionParameters,
        client: ModelClient,
        storage: Storage,
        data_log: DataLog,
        spool: Path,
    ) -> None:
        self._plan = plan
        self._parameters = parameters
        self._client = client
        self._storage = storage
        self._log = data_log
        self._spool = spool
        self._outputs: set[_Output] = set()
        self._failing = threading.Lock()
        self._failure: str | None = None

    def run(self, objects: Sequence[S3Object]) -> str | None:
        """Transform the objects, and return the failure reason where one of them failed.

        Raises
        ------
        AbortedError
            Where the client was told to end; nothing more is stored.
        """
        with closing(self._tasks(objects)) as tasks:
            work = OrderedWork(
                tasks,
                work=self._answer,
                deliver=self._deliver,
                discard=_close,
                workers=self._parameters.concurrency,
            )
            try:
                work.run()
            finally:
                for output in self._outputs:
                    output.file.close()
        return self._failure

    def _tasks(self, objects: Sequence[S3Object]) -> Generator[_Task, None, None]:
        for entry in objects:
            output = _Output(entry, spool=self._spool)
            self._outputs.add(output)
            try:
                with reading():
                    for payload in self._payloads(entry):
                        if output.failed:
                            break
                        yield _Task(output, payload)
            except ObjectError as error:
                self._fail(output, error)
            yield _Task(output, None)

    def _payloads(self, entry: S3Object) -> Iterator[Payload]:
        def open_object() -> BinaryIO:
            try:
                source = self._storage.open(entry.bucket, entry.key)
            except ServiceError as error:
                raise ObjectError(error.message) from None
            return cast(BinaryIO, gzip.GzipFile(fileobj=source)) if self._plan.gzip else source

        return split_object(
            open_object,
            split=self._plan.split,
            strategy=self._parameters.strategy,
            limit=self._parameters.payload_bytes,
        )

    def _answer(self, task: _Task) -> _Answer:
        """Return what is to be written for a payload: nothing where the object has failed."""
        if task.payload is None:
            return _Answer(task.output, ends_object=True)
        if task.output.failed:
            return _Answer(task.output)
        processing = self._plan.processing
        try:
            payload = processing.filtered(task.payload) if processing else task.payload
            body = self._client.invoke(payload, headers=self._plan.headers).body
            if processing:
                body = processing.finished(task.payload, body, spool=self._spool)
            return _Answer(task.output, body)
        except (InvocationError, ObjectError) as error:
            self._fail(task.output, error)
            return _Answer(task.output)

    def _deliver(self, answer: _Answer) -> None:
        output = answer.output
        if answer.body is not None:
            with answer.body:
                if not output.failed:
                    output.append(answer.body, newline=self._plan.newline_after_answers)
        if answer.ends_object:
            self._outputs.discard(output)
            with output.file:
                if not output.failed:
                    self._store(output)

    def _store(self, output: _Output) -> None:
        output.file.flush()
        try:
            self._storage.upload(
                Path(output.file.name),
                self._plan.bucket,
                self._plan.output_key(output.entry),
                kms_key=self._plan.kms_key,
            )
        except ServiceError as error:
            self._fail(output, ObjectError(f"The output cannot be stored: {error.message}"))
        if self._plan.newline_after_answers and output.answers_with_newline:
            self._log.about(
                output.entry,
                f"Warning: {output.answers_with_newline} of {output.answers} answers ended with a newline, and "
                "AssembleWith=Line added one: the output has blank lines. Answer without the last newline, or use "
                "AssembleWith=None",
            )

    def _fail(self, output: _Output, error: InvocationError | ObjectError) -> None:
        """Give an object up; only its first failure is told."""
        with self._failing:
            if output.failed:
                return
            output.failed = True
        if isinstance(error, InvocationError):
            self._log.failed_invocation(output.entry, error)
            kind = "ClientError" if error.status is not None and 400 <= error.status < 500 else "AlgorithmError"
        else:
            kind = error.kind
            self._log.about(output.entry, f"{kind}: {error}")
        self._failure = self._failure or f"{kind}: {_FAILURE}"


def _close(answer: _Answer) -> None:
    if answer.body is not None:
        answer.body.close()
