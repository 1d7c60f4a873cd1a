"""``DataProcessing``: what a container gets of a record, and what is written beside its answer.

Each record goes ``InputFilter`` -> container -> join with the original -> ``OutputFilter``. Blank lines are no
records. Nothing is parsed where the filters leave everything as it is.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

from local_sagemaker.errors import invalid
from local_sagemaker.http_connection import MEMORY_BYTES
from local_sagemaker.json_path import JsonPath, PathError
from local_sagemaker.splitting import ObjectError, Payload, reading

Format = Literal["csv", "json"]

DEFAULTS: Mapping[str, str] = {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
"""What ``Describe`` answers where the request says nothing."""

_FORMATS: Mapping[str, Format] = {"text/csv": "csv", "application/json": "json", "application/jsonlines": "json"}
_MISMATCH = "Fail to join data: mismatched line count between the input and the output"


@dataclass(frozen=True)
class DataProcessing:
    """What is done with each record.

    Attributes
    ----------
    input_filter, output_filter
        The part of a record that is sent, and the part of the result that is written.
    join
        Whether the original record is written with the answer.
    format
        How a record is read.
    by_line
        Whether each line is a record; else the whole payload is one JSON document.
    """

    input_filter: JsonPath
    output_filter: JsonPath
    join: bool
    format: Format
    by_line: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> DataProcessing | None:
        """Read it from a ``CreateTransformJob``; ``None`` where everything passes as it is.

        Raises
        ------
        ServiceError
            ``ValidationException`` for paths and combinations that AWS refuses.
        """
        given = {**DEFAULTS, **request.get("DataProcessing", {})}
        if given == DEFAULTS:
            return None
        source, output = request["TransformInput"], request["TransformOutput"]
        content_type, accept = source.get("ContentType", ""), output.get("Accept", "")
        split, assemble = source.get("SplitType", "None"), output.get("AssembleWith", "None")
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in _FORMATS:
            raise invalid(f'DataProcessing reads {", ".join(_FORMATS)}, not ContentType "{content_type}"')
        if accept != content_type:
            raise invalid(f'DataProcessing needs Accept "{accept}" to be the same as ContentType "{content_type}"')
        if split != assemble:
            raise invalid(f"DataProcessing needs AssembleWith {assemble} to be the same as SplitType {split}")
        if kind == "text/csv" and split != "Line":
            raise invalid(f"DataProcessing of text/csv needs SplitType Line, not {split}")
        processing = cls(
            input_filter=_path("InputFilter", given["InputFilter"], kind=_FORMATS[kind]),
            output_filter=_path("OutputFilter", given["OutputFilter"], kind=_FORMATS[kind]),
            join=given["JoinSource"] == "Input",
            format=_FORMATS[kind],
            by_line=split == "Line" or kind == "application/jsonlines",
        )
        return processing

    @property
    def warnings(self) -> list[str]:
        """What a user should know about this job."""
        return [
            f'{name} "{path.text}": the end of a slice is exclusive here, as in JSONPath; AWS\'s page counts it in'
            for name, path in (("InputFilter", self.input_filter), ("OutputFilter", self.output_filter))
            if path.has_slice_end
        ]

    def filtered(self, payload: Payload) -> Payload:
        """Return what is sent of a payload.

        Raises
        ------
        ObjectError
            Where a record cannot be read, or has not what the filter asks for. A payload too large for the memory
            raises it while it is sent.
        """
        if self.input_filter.is_root:
            return payload
        if callable(payload.content):
            return Payload(lambda: cast(BinaryIO, io.BufferedReader(_Lines(self._sent(payload)))), chunked=True)
        return Payload(b"".join(self._sent(payload)), chunked=payload.chunked)

    def finished(self, payload: Payload, answer: IO[bytes], *, spool: Path) -> IO[bytes]:
        """Return what is written for a payload: records between newlines, and none after the last.

        Parameters
        ----------
        payload
            The original, unfiltered.
        answer
            The container's; it is closed.
        spool
            The folder for large results.

        Raises
        ------
        ObjectError
            Where a record cannot be read, input and output do not match, or the filter asks for what is not there.
        """
        with answer:
            if self.join:
                with reading(), payload.open() as original:
                    return _spooled(self._joined(original, answer), spool=spool)
            if self.output_filter.is_root:
                return _spooled(self._split(answer), spool=spool)
            return _spooled(self._selected(answer), spool=spool)

    def _sent(self, payload: Payload) -> Iterator[bytes]:
        with payload.open() as source:
            for number, record in enumerate(self._split(source), start=1):
                with _telling(f"record {number} of a payload: InputFilter"):
                    value = self.input_filter.select(self._parse(record))
                yield self._format(value) + (b"\n" if self.by_line else b"")

    def _joined(self, original: IO[bytes], answer: IO[bytes]) -> Iterator[bytes]:
        inputs, outputs = self._split(original), self._split(answer)
        number = 0
        for record in inputs:
            output = next(outputs, None)
            if output is None:
                raise ObjectError(
                    f"{_MISMATCH} ({number + 1 + _count(inputs)} and {number} in a request)", kind="AlgorithmError"
                )
            number += 1
            with _telling(f"record {number} of a payload: JoinSource"):
                yield self._join(record, output)
        if extra := _count(outputs):
            raise ObjectError(f"{_MISMATCH} ({number} and {number + extra} in a request)", kind="AlgorithmError")

    def _join(self, record: bytes, output: bytes) -> bytes:
        if self.format == "csv":
            if self.output_filter.is_root:
                return record + b"," + output
            return self._format(self.output_filter.select(self._parse(record) + self._parse(output)))
        original, transformed = self._parse(record), self._parse(output)
        if isinstance(original, dict):
            joined = {**original, "SageMakerOutput": transformed}
        else:
            joined = {"SageMakerInput": original, "SageMakerOutput": transformed}
        return self._format(self.output_filter.select(joined))

    def _selected(self, answer: IO[bytes]) -> Iterator[bytes]:
        for number, output in enumerate(self._split(answer), start=1):
            with _telling(f"record {number} of an answer: OutputFilter"):
                yield self._format(self.output_filter.select(self._parse(output)))

    def _split(self, source: IO[bytes]) -> Iterator[bytes]:
        return _records(source) if self.by_line else iter([source.read()])

    def _parse(self, record: bytes) -> Any:
        try:
            text = record.decode("utf-8")
            return next(csv.reader([text], strict=True)) if self.format == "csv" else json.loads(text)
        except (ValueError, csv.Error, StopIteration) as error:
            kind = "row of CSV" if self.format == "csv" else "JSON"
            raise PathError(f"{record[:100]!r} is no {kind}: {error}") from None

    def _format(self, value: Any) -> bytes:
        if self.format == "json":
            return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(value if isinstance(value, list) else [value])
        return text.getvalue().encode()


class _Lines(io.RawIOBase):
    """Reads what an iterator yields, so that a filtered object can be sent in chunks."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._rest:
            self._rest = next(self._lines, b"")
        block, self._rest = self._rest[: len(target)], self._rest[len(target) :]
        target[: len(block)] = block
        return len(block)


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Turn a path's error into the object's, saying where."""
    try:
        yield
    except PathError as error:
        raise ObjectError(f"{where} {error}") from None


def _path(name: str, text: str, *, kind: Format) -> JsonPath:
    try:
        path = JsonPath.parse(text)
    except PathError as error:
        raise invalid(f"{name} {error}") from None
    if kind == "csv" and path.selects_by_name:
        raise invalid(f'{name} "{text}" takes columns by name: rows of text/csv have indices, such as $[0,2] or $[1:]')
    return path


def _records(source: IO[bytes]) -> Iterator[bytes]:
    for line in source:
        if record := line.rstrip(b"\r\n"):
            yield record


def _count(records: Iterable[bytes]) -> int:
    return sum(1 for _ in records)


def _spooled(lines: Iterable[bytes], *, spool: Path) -> IO[bytes]:
    # Closed by whoever writes it out.
    target: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(spool))  # noqa: SIM115
    separator = b""
    try:
        for line in lines:
            target.write(separator + line)
            separator = b"\n"
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target
