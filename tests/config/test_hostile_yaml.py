"""Hostile YAML, which would fill the memory or raise unexpected errors, is refused quickly and in one line."""

import re
import resource
import time
from pathlib import Path

import pytest

from worldmodel.config import ConfigError, load_config
from worldmodel.config.yaml_text import MAX_BYTES, MAX_DEPTH, read_yaml
from worldmodel.recipe import Recipe

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
HOSTILE = {
    "laughs": LAUGHS,
    "long text repeated": f"a: &a {'x' * 900_000}\nb: [{', '.join(['*a'] * 1000)}]",
    "itself": "a: &a [*a]",
    "itself in a mapping": "a: &a {b: *a}",
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 10_000,
    "deep blocks": "".join(f"{' ' * n}a:\n" for n in range(1000)),
    "deep sequences": "- " * 10_000 + "x",
    "large": "a: " + "x" * (30 * MAX_BYTES),
    "many values": "[" + "1," * 400_000 + "]",
    "long integer": "a: " + "9" * 10_000,
    "twice": "a: 1\na: 2",
    "unhashable": "? [a]\n: b\n? {c: d}\n: e",
    "control": "a: \x01",
    "surrogate": 'a: "\\ud800',
    "tag": "a: !!python/object/apply:os.system [echo]",
    "undefined alias": "a: *b",
    "binary": "a: !!binary x",
    "bool": "a: !!bool maybe",
    "timestamp": "a: !!timestamp x",
    "empty integer": "a: !!int ''",
    "merge": "a: &a {b: 1}\n<<: *a\nb: !!merge x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_quickly_in_one_line_that_names_the_file(tmp_path, name):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(HOSTILE[name].encode())
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError) as error:
        load_config(Recipe, path)
    assert str(path) in str(error.value)
    assert all(len(line) < 1000 for line in error.value.problems)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    "name", ["1e9999", ".nan", "{.nan: 1}", "{1: a, 1.0: b}", "!!binary aGVsbG8=", "!!set {a, b}", "2020-01-01"]
)
def test_an_unusual_value_is_a_problem_of_its_field(tmp_path, name):
    (tmp_path / "recipe.yaml").write_text(f"seed: {name}\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: "):
        load_config(Recipe, tmp_path / "recipe.yaml")


def test_a_few_aliases_are_accepted():
    assert read_yaml("a: &a {b: [1, 2]}\nc: *a\nd: [*a, *a]") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": [{"b": [1, 2]}] * 2,
    }


def test_nesting_up_to_the_limit_is_accepted():
    value = read_yaml("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))
    for _ in range(MAX_DEPTH - 2):
        (value,) = value
    assert value == []
    with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH} levels deep"):
        read_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_an_override_has_the_same_limits():
    with pytest.raises(ConfigError, match="nested more than"):
        load_override("[" * 1000)


def load_override(value: str) -> None:
    load_config(Recipe, Path(__file__).resolve().parents[2] / "configs" / "demo.yaml", [f"data.make={value}"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: !!int '" + ":".join(["1"] * 400_000) + "'", "not a supported number"),
        ("a: !!float '" + ":".join(["1"] * 400_000) + "'", "not a supported number"),
        ("a: " + "9" * 5000, "not a supported number"),
        ("a: !!binary aGVsbG8=", "the tag tag:yaml.org,2002:binary is not allowed"),
        ("a: !!set {b}", "the tag tag:yaml.org,2002:set is not allowed"),
        ("a: &x [*x]", "*x refers to the value that contains it"),
    ],
)
def test_tags_long_numbers_and_cycles_are_refused_quickly(text, reason):
    began = time.monotonic()
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_yaml(text)
    assert time.monotonic() - began < 5
