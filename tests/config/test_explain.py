"""Docstrings of config fields are shown in the JSON schema and as YAML comments, which do not change the config."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from worldmodel.config import Config, dump_config, json_schema, parse_config
from worldmodel.config.explain import explain
from worldmodel.config.yaml_text import read_yaml


class Spread(Config):
    """Two terms against collapse.

    This second paragraph is not shown.
    """

    kind: Literal["spread"] = "spread"
    weight: float = 25.0
    """weight in the sum"""


class Ahead(Config):
    kind: Literal["ahead"] = "ahead"
    horizons: tuple[int, ...] | None = (1, 2)
    """latent steps, or null"""


class View(Config):
    """One view."""

    blocks: int = 8
    """Rectangles of the picture that are hidden from the model in every frame of a clip. Each of
    them has a random position, so that the model has to predict what they cover together."""
    area: float = 0.15
    """fraction of the picture"""


class Base(Config):
    seed: int = 0
    """seed of all random numbers"""
    run: str = "x"
    """a folder"""


class Recipe(Base):
    run: str = "runs/x"
    """folder of the run"""
    max_steps: int = Field(
        100,
        gt=0,
    )
    """steps of the optimizer"""
    # a comment is not a description
    clip: float | None = 1.0
    """maximum norm of the whole gradient;

    null: not clipped"""
    bare: int = 3
    objectives: dict[str, Annotated[Spread | Ahead, Field(discriminator="kind")]] = Field({"s": Spread(), "a": Ahead()})
    target: Spread | None = Spread()
    """what is predicted"""
    views: tuple[View, ...] = (View(), View(blocks=2))
    words: tuple[str, ...] = ()
    """any text"""
    free: dict[str, Any] = Field({})


WHOLE = """\
seed: 0  # seed of all random numbers
run: runs/x  # folder of the run
max_steps: 100  # steps of the optimizer
clip: 1.0  # maximum norm of the whole gradient; null: not clipped
bare: 3
objectives:
  # Two terms against collapse.
  s:
    kind: spread
    weight: 25.0  # weight in the sum
  a:
    kind: ahead
    horizons: [1, 2]  # latent steps, or null
# Two terms against collapse.
target:  # what is predicted
  kind: spread
  weight: 25.0  # weight in the sum
views:
# Rectangles of the picture that are hidden from the model in every frame of a clip. Each of them has a random position, so that
# the model has to predict what they cover together.
- blocks: 8
  area: 0.15  # fraction of the picture
# Rectangles of the picture that are hidden from the model in every frame of a clip. Each of them has a random position, so that
# the model has to predict what they cover together.
- blocks: 2
  area: 0.15  # fraction of the picture
words: []  # any text
free: {}
"""


def test_explain_shows_the_docstring_of_every_field():
    """Short and long docstrings, inherited fields, entries of dicts, members of unions and items of lists."""
    assert explain(Recipe()) == WHOLE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"run": "#", "free": {"a # b": ["#", {"c": None}], "d": "one\ntwo # three"}},
        {"run": "a\u2028b\x85c\rd", "words": ["a\u2028b"]},  # further line breaks of YAML
        {"words": ["a long word # not a comment"] * 20, "run": "many words " * 20},  # several lines of YAML
        {"objectives": {"7": {"kind": "ahead", "horizons": None}}, "target": None, "views": []},
    ],
    ids=["defaults", "comment signs", "line breaks", "long", "others"],
)
def test_comments_do_not_change_the_config(fields: dict):
    recipe = parse_config(Recipe, fields, "x")
    assert parse_config(Recipe, read_yaml(explain(recipe)), "x") == recipe
    assert [line for line in explain(recipe).splitlines() if not line.lstrip().startswith("#")] != []
    assert read_yaml(explain(recipe)) == read_yaml(dump_config(recipe))


def test_the_schema_has_the_same_descriptions():
    found = json_schema(Recipe)
    assert found["properties"]["max_steps"]["description"] == "steps of the optimizer"
    assert found["properties"]["run"]["description"] == "folder of the run"
    assert found["$defs"]["Spread"]["properties"]["weight"]["description"] == "weight in the sum"
    assert found["$defs"]["Ahead"]["properties"]["horizons"]["description"] == "latent steps, or null"
    assert "description" not in found["properties"]["bare"]


def test_an_explicit_description_has_priority():
    class Described(Config):
        field: int = Field(1, description="explicit")
        """docstring"""

    assert json_schema(Described)["properties"]["field"]["description"] == "explicit"


def test_a_class_without_source_has_no_descriptions():
    scope: dict[str, Any] = {"Config": Config, "__name__": "nowhere"}
    exec("class Shell(Config):\n    field: int = 1\n    'from a shell'\n", scope)
    assert explain(scope["Shell"]()) == "field: 1\n"
