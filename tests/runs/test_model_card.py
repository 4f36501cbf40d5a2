"""What an export says of its recipe names no path of the machine that made it."""

import os
from typing import Any

import pytest

from worldmodel.config import json_schema
from worldmodel.recipe import Recipe
from worldmodel.runs.model_card import _last_name, portable_recipe
from worldmodel.storage.secrets import texts_of

HERE = "/home/someone/secret-project"
WITHOUT_CROPS = {"crop_area_min": 1, "crop_aspect_max": 1}
# Every field that takes any text. A new one is added here, and to `portable_recipe` if it may name a path.
NAMES_A_PATH = {"run", "upload_to", "init_from", "manifest", "make", "source", "cache"}
ANY_CONTENT = {"config"}  # of a DINO; without the path that it was read from, see test_frozen_encoder.py
OTHER_TEXT = {"action_names", "state_names", "action_units", "state_units", "constant", "targets", "frozen"}


def frozen_target() -> dict[str, Any]:
    return {"kind": "masked", "target": {"kind": "frozen", "run": f"{HERE}/teacher", "cache": f"{HERE}/cache"}}


def frozen_frames() -> dict[str, Any]:
    return {"kind": "causal", "target": {"kind": "frozen", "run": f"{HERE}/teacher"}}


def frozen_encoder() -> dict[str, Any]:
    return {"kind": "causal", "frozen_encoder": {"source": f"hf:{HERE}/dino", "cache": f"{HERE}/cache"}}


@pytest.mark.parametrize("model", [frozen_target, frozen_frames, frozen_encoder])
def test_no_field_of_an_exported_recipe_names_a_path_of_this_machine(model):
    recipe = Recipe.model_validate(
        {
            "run": f"{HERE}/run",
            "upload_to": "s3://secret-project/run",
            "init_from": f"{HERE}/before",
            "data": {"manifest": [f"{HERE}/a.parquet", "s3://secret-project/b.parquet"], "make": ["python", f"{HERE}/make.py"]},
            "augment": WITHOUT_CROPS,
            "model": model(),
            "objectives": {"forecast": {"kind": "forecast", "distance": "l1" if model is frozen_target else "l2"}},
        }
    )
    found = dict(texts_of(portable_recipe(recipe).model_dump(mode="json")))
    assert not [name for name, text in found.items() if "secret-project" in text]
    assert found["run"] == "run"
    assert found["data.manifest[1]"] == "b.parquet"


def test_every_text_of_a_recipe_is_known_to_name_a_path_or_not():
    schema = json_schema(Recipe)
    found = set()

    def is_text(node: Any) -> bool:
        options = [node, *node.get("anyOf", []), *(option.get("items", {}) for option in (node, *node.get("anyOf", [])))]
        return any(option.get("type") == "string" and not {"enum", "const"} & option.keys() for option in options)

    def is_open(node: Any) -> bool:
        """Whether it takes a mapping of anything, in which text may stand."""
        return any(option.get("additionalProperties") is True for option in (node, *node.get("anyOf", [])))

    for part in (schema, *schema["$defs"].values()):
        found |= {name for name, node in part.get("properties", {}).items() if is_text(node) or is_open(node)}
    assert found == NAMES_A_PATH | OTHER_TEXT | ANY_CONTENT


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/x/runs/mine/", "mine"),
        ("s3://bucket/mine.parquet#etag=1", "mine.parquet"),
        ("hf:facebook/vjepa2", "hf:facebook/vjepa2"),
        ("hf://facebook/vjepa2", "hf:facebook/vjepa2"),
        ("hf:/home/x/vjepa2", "hf:vjepa2"),
        ("hf:../x/vjepa2", "hf:vjepa2"),
        ("hf:../vjepa2", "hf:vjepa2"),
        ("hf:folder/vjepa2", "hf:vjepa2"),
        ("hf://datasets/owner/name/m.parquet", "m.parquet"),
    ],
)
def test_a_model_of_the_hub_keeps_its_owner_and_a_path_only_its_last_name(path, name):
    os.makedirs("folder/vjepa2")
    assert _last_name(path) == name
