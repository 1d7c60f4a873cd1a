"""Files of float32 arrays: the bytes of the package safetensors, mapped where they lie, damage named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.torch import load_file, save_file

from factorbox.tensor_files import TensorFileError, map_file, write_tensors

FLOATS = arrays.arrays(np.float32, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))


@given(tensors=st.dictionaries(st.text("abcé_", min_size=1, max_size=4), FLOATS, max_size=4))
def test_the_bytes_are_those_of_torch_and_come_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray[Any, np.dtype[np.float32]]]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    write_tensors(folder / "ours", tensors)
    save_file({name: torch.from_numpy(array) for name, array in tensors.items()}, folder / "torch")
    assert (folder / "ours").read_bytes() == (folder / "torch").read_bytes()
    found = map_file(folder / "ours")
    assert found.keys() == tensors.keys()
    for name, array in found.items():
        assert array.dtype == np.float32
        assert array.shape == tensors[name].shape
        assert array.tobytes() == tensors[name].tobytes()


def test_what_is_not_contiguous_is_written_as_it_reads(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_tensors(tmp_path / "file", {"turned": array.T, "sparse": array[:, ::2]})
    found = load_file(tmp_path / "file")
    assert found["turned"].numpy().tolist() == array.T.tolist()
    assert found["sparse"].numpy().tolist() == array[:, ::2].tolist()


def test_what_is_written_to_an_array_does_not_reach_the_file(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", {"a": np.ones(3, dtype=np.float32)})
    before = (tmp_path / "file").read_bytes()
    array = map_file(tmp_path / "file")["a"]
    array[:] = 2.0
    assert array.tolist() == [2.0, 2.0, 2.0]
    assert (tmp_path / "file").read_bytes() == before


def of(header: object, numbers: int = 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * numbers


def entry(**changed: object) -> dict[str, object]:
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changed}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it has 0 bytes"),
        (b"\0" * 7, "it has 7 bytes"),
        ((1 << 62).to_bytes(8, "little"), "its header would end"),
        ((9).to_bytes(8, "little") + b"{}", "its header would end"),
        (of(b"{"), "not JSON"),
        (of(b"\xff\xfe"), "not JSON"),
        (of(b"[" * 100_000), "not JSON"),
        (of([1]), "no JSON object"),
        (of({"a": 1}), "does not say what a is"),
        (of({"a": {"dtype": "F32"}}), "does not say what a is"),
        (of(entry(data_offsets=[0, 4, 8])), "does not say what a is"),
        (of(entry(data_offsets=[0, "8"])), "'8' for a length"),
        (of(entry(shape=[-2])), "-2 for a length"),
        (of(entry(shape=[True])), "True for a length"),
        (of(entry(dtype="F64", shape=[1])), "of type F64"),
        (of(entry(shape=[3])), "do not make the shape"),
        (of(entry(data_offsets=[8, 0])), "do not make the shape"),
        (of(entry(shape={})), "for the shape of a"),
        (of(entry(shape=[2] + [1] * 100)), "no array has a shape"),
        (of(entry() | {"b": {"dtype": "F32", "shape": [0, 1 << 70], "data_offsets": [8, 8]}}), "no array has a shape"),
        (of(entry(data_offsets=[4, 12]), 12), "begins at byte 4"),
        (of(entry(), 7), "its numbers have 7 bytes"),
        (of(entry(), 9), "its numbers have 9 bytes"),
        (of(entry() | {"b": entry()["a"]}), "b begins at byte 0"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TensorFileError, match=why):
        map_file(tmp_path / "file")


def test_metadata_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(of(entry() | {"__metadata__": {"format": "pt"}}))
    assert map_file(tmp_path / "file")["a"].tolist() == [0.0, 0.0]
