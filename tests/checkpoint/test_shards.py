"""Tensors that several ranks wrote are read exactly, in any parts; files that do not fit together are refused."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from worldmodel.checkpoint import CheckpointError
from worldmodel.checkpoint.shards import Part, TensorFiles, file_of_rank, metadata_of, own_parts
from worldmodel.training.row_shards import row_range

WHOLE = torch.arange(35.0).reshape(7, 5)


def write_rows(folder: Path, ranks: int, whole: torch.Tensor = WHOLE) -> list[Path]:
    """The files of a tensor that is sharded as by FSDP2."""
    files = []
    for rank in range(ranks):
        begin, end = row_range(len(whole), rank, ranks)
        if end > begin:
            parts = {"w": Part(whole[begin:end].contiguous(), tuple(whole.shape), (begin, 0))}
            files.append(folder / file_of_rank("model", rank))
            save_file({"w": parts["w"].tensor}, files[-1], metadata_of(parts))
    return files


def write_part(path: Path, values: torch.Tensor, shape: list[int], offsets: list[int]) -> Path:
    save_file({"w": values}, path, {"parts": json.dumps({"w": {"shape": shape, "offsets": offsets}})})
    return path


def test_rows_are_divided_as_by_fsdp2():
    assert [row_range(5, rank, 4) for rank in range(4)] == [(0, 2), (2, 4), (4, 5), (5, 5)]
    assert [row_range(6, rank, 2) for rank in range(2)] == [(0, 3), (3, 6)]


@pytest.mark.parametrize(("writers", "readers"), [(1, 2), (2, 1), (2, 3), (3, 2), (2, 4), (9, 2)])
def test_what_some_ranks_wrote_any_number_of_ranks_reads_bit_for_bit(tmp_path: Path, writers: int, readers: int):
    with TensorFiles(write_rows(tmp_path, writers)) as files:
        assert files["w"].shape == (7, 5)
        assert files["w"].dtype == torch.float32
        rows = [row_range(7, rank, readers) for rank in range(readers)]
        read = [files.read("w", (begin, 0), (end - begin, 5)) for begin, end in rows]
        assert torch.equal(torch.cat(read), WHOLE)
        assert torch.equal(files.read("w"), WHOLE)
        assert torch.equal(files.read("w", (2, 1), (4, 3)), WHOLE[2:6, 1:4])


def test_of_tensors_that_all_ranks_hold_each_is_written_once_and_all_ranks_write_about_the_same():
    tensors = {f"t{size}": torch.zeros(size) for size in range(1, 40)} | {"scalar": torch.tensor(2.0)}
    parts = [own_parts(tensors, rank, 3) for rank in range(3)]
    names = [name for part in parts for name in part]
    assert sorted(names) == sorted(tensors)
    written = [sum(entry.tensor.nbytes for entry in part.values()) for part in parts]
    assert max(written) - min(written) <= 8
    assert all(part.shape == tuple(tensors[name].shape) for some in parts for name, part in some.items())


def test_a_scalar_is_read_from_a_file_with_places(tmp_path: Path):
    parts = own_parts({"step": torch.tensor(7.0)}, 0, 1)
    save_file({"step": parts["step"].tensor}, tmp_path / "a.safetensors", metadata_of(parts))
    with TensorFiles([tmp_path / "a.safetensors"]) as files:
        assert files.read("step", (), ()).item() == 7


def test_a_file_without_places_holds_whole_tensors(tmp_path: Path):
    save_file({"w": WHOLE, "b": torch.ones((), dtype=torch.bfloat16)}, tmp_path / "model.safetensors")
    with TensorFiles([tmp_path / "model.safetensors"]) as files:
        assert torch.equal(files.read("w", (3, 0), (2, 5)), WHOLE[3:5])
        assert files["b"].dtype == torch.bfloat16
        assert math.prod(files["b"].shape) == 1


def test_a_missing_part_is_named(tmp_path: Path):
    files = write_rows(tmp_path, 3)
    for left in (files[:2], files[1:]):
        with pytest.raises(CheckpointError, match="parts of w are missing; restore the checkpoint from a copy"):
            TensorFiles(left)


def test_parts_of_different_tensors_do_not_fit_together(tmp_path: Path):
    first = write_part(tmp_path / "a", WHOLE[:3].clone(), [7, 5], [0, 0])
    for values, shape, offsets in (
        (WHOLE[3:].double(), [7, 5], [3, 0]),  # another type
        (WHOLE[3:].clone(), [8, 5], [3, 0]),  # another shape
        (WHOLE[3:].clone(), [7, 5], [4, 0]),  # beyond the end
        (WHOLE[3:].clone(), [7, 5], [0, 0]),  # in the place of the first
        (WHOLE[3:].clone(), [7, 5], [-3, 0]),
        (WHOLE[3:].clone(), [7, 5], [3]),
    ):
        second = write_part(tmp_path / "b", values, shape, offsets)
        with pytest.raises(CheckpointError) as raised:
            TensorFiles([first, second])
        assert str(tmp_path / "b") in str(raised.value)
        assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("places", ["[", "[]", "{}", '{"w": 1}', '{"w": {"shape": "x", "offsets": []}}', "[" * 9999, "1e999"])
def test_places_that_are_no_places_are_reported_in_one_line(tmp_path: Path, places: str):
    save_file({"w": WHOLE}, tmp_path / "a.safetensors", {"parts": places})
    with pytest.raises(CheckpointError, match=r"a\.safetensors cannot be loaded") as raised:
        TensorFiles([tmp_path / "a.safetensors"])
    assert len(str(raised.value).splitlines()) == 1
