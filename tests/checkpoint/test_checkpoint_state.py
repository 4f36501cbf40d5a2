"""Every change of state.json is detected or has no effect."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from worldmodel import checkpoint as checkpoints
from worldmodel.checkpoint import FORMAT, CheckpointError, NewerFormatError, open_checkpoint, write_state

STATE = {
    "step": 7,
    "samples": 56,
    "seconds": 1.5,
    "skill": 0.25,
    "windows": [3],
    "data": ["ab"],
    "rows": {"metrics": 7},
    "machine": {"device": "cpu"},
    "recipe": {"seed": 0},
    "run_folder": "/runs/a",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoints.save_checkpoint(tmp_path, {"model": {"a": torch.arange(4.0)}}, STATE)


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(folder)
    (line,) = str(raised.value).splitlines()
    assert str(folder) in line
    return line


def test_every_flipped_bit_is_found_or_changes_nothing(folder: Path):
    whole = open_checkpoint(folder)
    tensors = whole.tensors("model")
    errors: list[CheckpointError] = []
    for name in ("state.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        for bit in range(len(content) * 8):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(changed)
            try:
                opened = open_checkpoint(folder)
            except CheckpointError as error:
                errors.append(error)
            else:
                assert opened == whole
                assert torch.equal(opened.tensors("model")["a"], tensors["a"])
        (folder / name).write_bytes(content)
    assert len(errors) > 1000
    assert {len(str(error).splitlines()) for error in errors} == {1}
    assert not any(isinstance(error, NewerFormatError) for error in errors)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("step", -1, "step is -1, expected a number of steps"),
        ("step", True, "step is True"),
        ("step", 8, "has step 8, but its folder is named "),
        ("step", 10**30, "step is a number of more than 64 bits"),
        ("samples", "56", "samples is '56', expected a number of samples"),
        ("seconds", -1.0, "seconds is -1.0, expected a number of seconds"),
        ("skill", "high", "skill is 'high', expected a number or null"),
        ("windows", 3, "windows is 3, expected a list"),
        ("windows", [1.5], "windows is list, expected a list of numbers"),
        ("data", [None], "data is list, expected a list of digests"),
        ("rows", {"metrics": "7"}, "rows is dict, expected numbers of rows"),
        ("recipe", [], "recipe is list, expected an object"),
        ("run_folder", 1, "run_folder is 1, expected a path"),
        ("sha256", {"../model.safetensors": "0" * 64}, "sha256 is dict, expected SHA-256 digests"),
        ("sha256", {"model.safetensors": None}, "sha256 is dict, expected SHA-256 digests"),
        ("sha256", {"model.safetensors": "0" * 64}, "model.safetensors is damaged"),
        ("sha256", {"other.safetensors": "0" * 64}, "other.safetensors is missing"),
        ("format", None, "format is None, expected a number from 1"),
        ("format", 0, "format is 0, expected a number from 1"),
    ],
)
def test_a_wrong_field_is_reported_in_one_line_with_file_and_field(folder: Path, field: str, value: object, message: str):
    state = {**open_checkpoint(folder).state, field: value}
    if field == "format":
        (folder / "state.json").write_text(json.dumps(state))
    else:
        write_state(folder, state)
    assert message in refused(folder)


@pytest.mark.parametrize("field", ["step", "recipe", "sha256"])
def test_a_missing_field_is_named(folder: Path, field: str):
    state = dict(open_checkpoint(folder).state)
    del state[field]
    write_state(folder, state)
    assert f"state.json has no {field}" in refused(folder)


def test_a_state_without_its_digest_is_damaged(folder: Path):
    state = dict(open_checkpoint(folder).state)
    del state["digest"]
    (folder / "state.json").write_text(json.dumps(state))
    assert "does not match its digest" in refused(folder)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_values_that_are_not_finite_numbers_are_refused(folder: Path, number: str):
    text = (folder / "state.json").read_text()
    (folder / "state.json").write_text(text.replace('"skill": 0.25', f'"skill": {number}'))
    assert "number" in refused(folder)


@pytest.mark.parametrize(
    "content", [b"", b"null", b"[]", b"\xff\xfe{}", b"[" * 200_000, b'{"a":' * 200_000, b'{"format": 1' + b"0" * 5000 + b"}"]
)
def test_an_invalid_state_is_reported_in_one_line(folder: Path, content: bytes):
    (folder / "state.json").write_bytes(content)
    assert "state.json" in refused(folder)


def test_a_huge_state_is_not_read(folder: Path):
    with (folder / "state.json").open("r+b") as file:
        file.truncate(1 << 34)
    assert "more than 16,777,216 bytes" in refused(folder)


def test_a_newer_format_is_distinguished_from_damage(folder: Path):
    state = open_checkpoint(folder).state
    write_state(folder, {**state, "format": FORMAT + 1, "step": "in other words"})
    with pytest.raises(NewerFormatError, match=rf"format {FORMAT + 1}, .* up to {FORMAT}\); update this project"):
        open_checkpoint(folder)
    (folder / "state.json").write_text(json.dumps({**state, "format": FORMAT + 1}))
    assert "damaged" in refused(folder)


def test_a_copy_is_opened_under_another_name_and_refused_under_another_number(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "my best")
    assert open_checkpoint(tmp_path / "my best").step == 7
    shutil.copytree(folder, folder.with_name("00000008"))
    assert "has step 7" in refused(folder.with_name("00000008"))


def test_missing_fields_that_a_resume_needs_are_named(folder: Path):
    with pytest.raises(CheckpointError, match=r"state\.json has no lost and no gone"):
        open_checkpoint(folder).require("step", "lost", "gone")
