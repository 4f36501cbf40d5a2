"""What fields mean is said where a recipe is written: in the schema, and as comments that change nothing of it."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from worldmodel.config import Config, dump, parse, schema
from worldmodel.config.comments import comments_of
from worldmodel.config.explained import explained
from worldmodel.config.yaml_text import read_yaml


class Spread(Config):
    """Two pressures against collapse.

    Not so short that all of it would be shown.
    """

    kind: Literal["spread"] = "spread"
    weight: float = 25.0  # of the whole


class Ahead(Config):
    kind: Literal["ahead"] = "ahead"
    # latent steps, or null
    horizons: tuple[int, ...] | None = (1, 2)


class View(Config):
    """One view."""

    # Rectangles of the picture that are hidden from the model in every frame of a clip, each of them by itself somewhere, so
    # that what they cover together is what has to be predicted.
    blocks: int = 8
    area: float = 0.15  # share of the picture


class Base(Config):
    seed: int = 0  # of all that is drawn
    run: str = "x"  # a folder


class Recipe(Base):
    run: str = "runs/x"
    updates: int = Field(
        100,
        gt=0,
    )  # steps of the optimizer
    # not clipped: null,
    # else a norm
    clip: float | None = 1.0  # of the whole gradient

    # a heading, of no field

    bare: int = 3  # fmt: skip
    objectives: dict[str, Annotated[Spread | Ahead, Field(discriminator="kind")]] = Field({"s": Spread(), "a": Ahead()})
    target: Spread | None = Spread()  # what is aimed at
    views: tuple[View, ...] = (View(), View(blocks=2))
    words: tuple[str, ...] = ()  # as they are
    free: dict[str, Any] = Field({})


WHOLE = """\
seed: 0  # of all that is drawn
run: runs/x  # a folder
updates: 100  # steps of the optimizer
clip: 1.0  # not clipped: null, else a norm of the whole gradient
bare: 3
objectives:
  # Two pressures against collapse.
  s:
    kind: spread
    weight: 25.0  # of the whole
  a:
    kind: ahead
    horizons: [1, 2]  # latent steps, or null
# Two pressures against collapse.
target:  # what is aimed at
  kind: spread
  weight: 25.0  # of the whole
views:
# Rectangles of the picture that are hidden from the model in every frame of a clip, each of them by itself somewhere, so that
# what they cover together is what has to be predicted.
- blocks: 8
  area: 0.15  # share of the picture
# Rectangles of the picture that are hidden from the model in every frame of a clip, each of them by itself somewhere, so that
# what they cover together is what has to be predicted.
- blocks: 2
  area: 0.15  # share of the picture
words: []  # as they are
free: {}
"""


def test_a_recipe_is_explained_wherever_its_fields_stand():
    """Comments behind and above, inherited ones, entries of dicts, members of unions, items of lists."""
    assert explained(Recipe()) == WHOLE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"run": "#", "free": {"a # b": ["#", {"c": None}], "d": "one\ntwo # three"}},
        {"run": "a\u2028b\x85c\rd", "words": ["a\u2028b"]},  # what else YAML takes for ends of lines
        {"words": ["a long word # that is none"] * 20, "run": "so many words " * 20},  # several lines of YAML
        {"objectives": {"7": {"kind": "ahead", "horizons": None}}, "target": None, "views": []},
    ],
    ids=["defaults", "signs", "ends of lines", "long", "others"],
)
def test_comments_change_nothing_of_what_is_read(fields: dict):
    recipe = parse(Recipe, fields, "x")
    assert parse(Recipe, read_yaml(explained(recipe)), "x") == recipe
    assert [line for line in explained(recipe).splitlines() if not line.lstrip().startswith("#")] != []
    assert read_yaml(explained(recipe)) == read_yaml(dump(recipe))


def test_the_schema_carries_the_same_words():
    found = schema(Recipe)
    assert found["properties"]["updates"]["description"] == "steps of the optimizer"
    assert found["properties"]["run"]["description"] == "a folder"
    assert found["$defs"]["Spread"]["properties"]["weight"]["description"] == "of the whole"
    assert found["$defs"]["Ahead"]["properties"]["horizons"]["description"] == "latent steps, or null"
    assert "description" not in found["properties"]["bare"]


def test_a_description_given_outright_stays():
    class Told(Config):
        field: int = Field(1, description="told")  # commented

    assert schema(Told)["properties"]["field"]["description"] == "told"


def test_a_class_without_source_has_no_descriptions():
    scope: dict[str, Any] = {"Config": Config, "__name__": "nowhere"}
    exec("class Shell(Config):\n    field: int = 1  # said in a shell\n", scope)
    assert comments_of(scope["Shell"]) == {}
    assert explained(scope["Shell"]()) == "field: 1\n"
