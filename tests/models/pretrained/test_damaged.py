"""Damaged or malicious folders of pretrained models: a one-line error names the file, and nothing large is allocated."""

import json
import resource
import shutil
from pathlib import Path

import pytest
import torch
from fuzz import weights
from safetensors.torch import load_file, save_file

from worldmodel.models.pretrained.layouts import PretrainedError
from worldmodel.models.pretrained.load import load_pretrained


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    weights.seeds(folder)
    return folder / "pretrained"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


def refused(folder: Path, file: str) -> str:
    with pytest.raises(PretrainedError) as error:
        load_pretrained(str(folder))
    assert "\n" not in str(error.value)
    assert f"{folder / file}" in str(error.value)
    return str(error.value)


def test_an_intact_folder_is_read(folder: Path):
    assert load_pretrained(str(folder)).size_px == 32


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("hidden_size", value) for value in ("abc", 0, -1, 10**12, 1.5, None, True, [48], {"a": None})),
        *(("num_hidden_layers", value) for value in (10**12, 60_000, 0)),
        *(("crop_size", value) for value in (0, -32, 10**9)),
        *(("mlp_ratio", value) for value in (float("nan"), float("inf"), -1, "x", 10**300)),
        *(("pred_num_mask_tokens", value) for value in (10**12, -1)),
        *(("patch_size", value) for value in (65536, 7, None)),
        ("num_attention_heads", 5),
        ("auto_map", {"AutoModel": "other--code"}),
    ],
)
def test_an_impossible_value_is_a_one_line_error_and_allocates_nothing(folder: Path, key: str, value: object):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, key: value}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(folder, "config.json")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"x"', "[" * 100_000, '{"model_type": ["vjepa2"]}', '{"a": 1}', "\x00"]
)
def test_a_truncated_config_or_one_that_is_not_an_object_is_a_one_line_error(folder: Path, content: str):
    (folder / "config.json").write_text(content)
    with pytest.raises(PretrainedError) as error:
        load_pretrained(str(folder))
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def header_size(content: bytes) -> bytes:
    return (2**60).to_bytes(8, "little") + content[8:]


def overlapping(content: bytes) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for name in list(header)[:3]:
        if name != "__metadata__":
            header[name]["data_offsets"] = [0, header[name]["data_offsets"][1] - header[name]["data_offsets"][0]]
    fields = json.dumps(header).encode()
    return len(fields).to_bytes(8, "little") + fields + content[8 + size :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[: len(content) // 2],
        lambda content: content[:20] + bytes([content[20] ^ 0xFF]) + content[21:],
        lambda content: content + b"more",
        header_size,
        overlapping,
    ],
    ids=["empty", "cut in the size", "cut in the tensors", "flipped header", "too long", "huge header", "overlapping"],
)
def test_damaged_weights_are_a_one_line_error_that_names_the_file(folder: Path, damage):
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    refused(folder, "model.safetensors") if file.stat().st_size > 5000 else refused_somewhere(folder)


def refused_somewhere(folder: Path) -> None:
    """Truncated files are too small for the model; that error names the folder."""
    with pytest.raises(PretrainedError, match=str(folder)):
        load_pretrained(str(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.layernorm.bias"][0] = value
    save_file(tensors, file)
    assert "encoder.layernorm.bias" in refused(folder, "model.safetensors")


def test_integer_weights_are_refused(folder: Path):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.layernorm.bias"] = torch.zeros(len(tensors["encoder.layernorm.bias"]), dtype=torch.int64)
    save_file(tensors, file)
    assert "torch.int64" in refused(folder, "model.safetensors")


@pytest.mark.parametrize("name", ["../../x.safetensors", "/etc/passwd", 5, None])
def test_an_index_that_names_a_file_outside_the_folder_is_refused(folder: Path, name: object):
    (folder.parent / "x.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"encoder.layernorm.bias": name}}))
    refused(folder, "model.safetensors.index.json")
