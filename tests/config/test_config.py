"""Configurations are strict, report all errors at once, and are written to YAML without loss."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field, ValidationError, model_validator

from worldmodel.config import Config, ConfigError, dump_config, json_schema, load_config, parse_config, save_config


class VICReg(Config):
    kind: Literal["vicreg"] = "vicreg"
    std_weight: float = 25.0
    cov_weight: float = 1.0


class Forecast(Config):
    kind: Literal["forecast"] = "forecast"
    horizons: tuple[int, ...] = (1, 2)
    distance: Literal["l1", "smooth"] = "l1"
    forecast: float = 1.0  # a field with the name of its own kind


Objective = Annotated[VICReg | Forecast, Field(discriminator="kind")]


class Source(Config):
    manifest: Path
    weight: float = 1.0


class Train(Config):
    lr: float = 1e-5
    warmup: int = 10
    max_steps: int = 100
    compile: bool = False

    @model_validator(mode="after")
    def fits(self) -> "Train":
        problems = []
        if self.warmup >= self.max_steps:
            problems.append(f"warmup ({self.warmup}) must be less than max_steps ({self.max_steps})")
        if self.max_steps > 10_000 and not self.compile:
            problems.append("compile long runs")
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Recipe(Config):
    run: str = "runs/x"
    folder: Path = Path("here")
    objectives: dict[str, Objective] = Field({"spread": VICReg(), "ahead": Forecast()})
    target: Objective = VICReg()
    ema: Forecast | None = None
    size: int | tuple[int, int] = 64
    max_minutes: float | None = None
    sources: tuple[Source, ...] = ()
    train: Train = Train()
    tracker: dict[str, Any] = Field({})


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Load a Recipe from the text of demo.yaml and overrides."""
    monkeypatch.chdir(tmp_path)

    def read(text: str = "{}", *overrides: str) -> Recipe:
        Path("demo.yaml").write_text(text, encoding="utf-8")
        return load_config(Recipe, "demo.yaml", overrides)

    return read


@pytest.fixture
def problems(read):
    """The problems of a refused recipe."""

    def problems(text: str = "{}", *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, *overrides)
        assert str(caught.value).splitlines() == caught.value.problems
        return caught.value.problems

    return problems


# --- reading


def test_overrides_have_priority_over_yaml_and_yaml_over_defaults(read):
    recipe = read("train: {lr: 0.1, warmup: 5}", "train.lr=0.2", "train.lr=0.3")
    assert (recipe.train.lr, recipe.train.warmup, recipe.train.max_steps) == (0.3, 5, 100)


@pytest.mark.parametrize("written", ["1e-4", "'1e-4'", "1E-4", "0.0001", "1.0e-4", "+.0001"])
def test_all_spellings_of_a_float_are_accepted(read, written):
    assert read(f"train: {{lr: {written}}}").train.lr == 1e-4
    assert read("{}", f"train.lr={written}").train.lr == 1e-4


def test_a_whole_number_may_have_underscores_and_is_a_valid_float(read):
    train = read("train: {max_steps: 1_000, lr: 1}").train
    assert train.max_steps == 1000
    assert train.lr == 1.0
    assert isinstance(train.lr, float)


@pytest.mark.parametrize("written", ["7", "2026_11_22", "12:30", "no", "2026-11-22", "010", "'1.10'"])
def test_a_text_field_keeps_the_written_text(read, written):
    assert read(f"run: {written}").run == written.strip("'")
    assert read(f"folder: {written}").folder == Path(written.strip("'"))


def test_an_override_changes_a_default_inside_mappings_and_unions(read):
    objectives = read("{}", "objectives.spread.std_weight=3").objectives
    assert objectives == {"spread": VICReg(std_weight=3), "ahead": Forecast()}


def test_an_override_changes_an_item_of_a_list_by_its_index(read):
    recipe = read("sources: [{manifest: a}, {manifest: b}]", "sources.1.weight=2", "objectives.ahead.horizons.0=4")
    assert [source.weight for source in recipe.sources] == [1, 2]
    assert recipe.objectives["ahead"].horizons == (4, 2)


def test_an_override_replaces_a_whole_mapping(read):
    recipe = read("target: {kind: vicreg, std_weight: 2}", "target={kind: forecast, distance: smooth}", "ema={kind: forecast}")
    assert recipe.target == Forecast(distance="smooth")
    assert recipe.ema == Forecast()


def test_a_config_is_frozen(read):
    with pytest.raises(ValidationError, match="frozen"):
        read().train.lr = 1.0


# --- problems


def test_all_errors_are_reported_at_once_each_in_one_line_with_file_path_and_suggestion(problems):
    text = """
objectives:
  spread: {kind: vicreg, std_wieght: 3}
  ahead: {kind: forcast}
  other: {std_weight: 1}
  third: 3
train: {lr: abc, max_steps: 1.5, warmup: true, compile: yes please}
target: {kind: forecast, distance: smoth, forecast: false, horizons: [1, x]}
sources: [{weight: 1}]
size: [1, x]
max_minutes: .inf
run: 1.10
rum: a
lr: 1
"""
    expected = """
demo.yaml: run is 1.1; expected text (put it in quotes)
demo.yaml: objectives.spread.std_wieght is not a field of vicreg; did you mean std_weight?
demo.yaml: objectives.ahead.kind is 'forcast'; expected vicreg or forecast; did you mean forecast?
demo.yaml: objectives.other.kind is missing; expected vicreg or forecast
demo.yaml: objectives.third is 3; expected a mapping with kind: vicreg or forecast
demo.yaml: target.horizons.1 is 'x'; expected a whole number
demo.yaml: target.distance is 'smoth'; expected 'l1' or 'smooth'; did you mean smooth?
demo.yaml: target.forecast is false; expected a number
demo.yaml: size.1 is 'x'; expected a whole number
demo.yaml: max_minutes is Infinity; expected a finite number
demo.yaml: sources.0.manifest is missing; expected a path
demo.yaml: train.lr is 'abc'; expected a number
demo.yaml: train.warmup is true; expected a whole number
demo.yaml: train.max_steps is 1.5; expected a whole number
demo.yaml: train.compile is 'yes please'; expected true or false
demo.yaml: rum is not a field of Recipe; did you mean run?
demo.yaml: lr is not a field of Recipe; did you mean train.lr?
"""
    assert sorted(problems(text)) == sorted(expected.strip().splitlines())


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: 3", "train is 3; expected a mapping"),
        ("train: null", "train is null; expected a mapping"),
        ("size: true", "size is true; expected a whole number or a list of 2"),
        ("max_minutes: None", "max_minutes is 'None'; expected a number or null (write null)"),
        ("train: {max_steps: 1e5}", "train.max_steps is 100000.0; expected a whole number (write 100000)"),
        ("run: true", "run is true; expected text (put it in quotes)"),
        ("run: null", "run is null; expected text"),
        ("ema: {kind: vicreg}", "ema.kind is 'vicreg'; expected 'forecast'"),
        ("train: {nothing: 1}", "train.nothing is not a field of Train; its fields are lr, warmup, max_steps, compile"),
        ("{1: 2}", "1 is not a field of Recipe; its fields are " + ", ".join(Recipe.model_fields)),
    ],
)
def test_a_wrong_value_is_shown_with_the_expected_one(problems, text, line):
    assert problems(text) == [f"demo.yaml: {line}"]


def test_problems_of_a_validator_are_shown_with_their_path_in_one_line_each(problems):
    assert problems("train: {warmup: 20_000, max_steps: 20_000}") == [
        "demo.yaml: train: warmup (20000) must be less than max_steps (20000)",
        "demo.yaml: train: compile long runs",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected a mapping of field names to values, found nothing"),
        ("- 1", "expected a mapping of field names to values, found [1]"),
        ("just words", "expected a mapping of field names to values, found 'just words'"),
        ("run: a\ntrain: {lr: 1}\nrun: b", "invalid YAML: line 3: duplicate key 'run'"),
        ("train: {lr: 1, lr: 2}", "invalid YAML: line 1: duplicate key 'lr'"),
        ("run: [1", "invalid YAML: line 1: expected ',' or ']', but got '<stream end>'"),
        ("a: &a [*a]", "invalid YAML: line 1: *a refers to the value that contains it"),
        ("? [1]\n: 2", "invalid YAML: line 1: found unhashable key"),
    ],
)
def test_a_file_without_a_mapping_is_refused_in_one_line(problems, text, reason):
    assert problems(text) == [f"demo.yaml: {reason}"]


def test_yaml_cannot_make_python_objects(problems):
    (line,) = problems("run: !!python/object/apply:os.getcwd []")
    assert "the tag tag:yaml.org,2002:python/object/apply:os.getcwd is not allowed" in line


def test_a_missing_file_suggests_a_similar_name(read):
    read()
    with pytest.raises(ConfigError, match=r"^dmeo.yaml: no such file; did you mean demo.yaml\?$"):
        load_config(Recipe, "dmeo.yaml")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("train.lr", "'train.lr' is not an override; write a.b=value, for example train.lr=1e-4"),
        ("=3", "'=3' is not an override; write a.b=value, for example train.lr=1e-4"),
        ("train..lr=3", "'train..lr=3' is not an override; write a.b=value, for example train.lr=1e-4"),
        ("train.lr.x=3", "train.lr.x=3: train.lr is 1e-05, which has no field 'x'; set the whole value: train.lr={...}"),
        ("ema.forecast=3", "ema.forecast=3: ema is null, which has no field 'forecast'; set the whole value: ema={...}"),
        (
            "sources.1.weight=3",
            "sources.1.weight=3: sources is a list of 1; '1' is not an index of it (indices start at 0)",
        ),
        ("train={lr: 1, lr: 2}", "train={lr: 1, lr: 2}: invalid YAML: duplicate key 'lr'"),
        ("train.warmpu=3", "train.warmpu is not a field of Train; did you mean warmup?"),
        ("trian.lr=3", "trian is not a field of Recipe; did you mean train?"),
        ("objectives.new.weight=3", "objectives.new.kind is missing; expected vicreg or forecast"),
    ],
)
def test_a_wrong_override_is_attributed_to_the_command_line(problems, override, reason):
    assert problems("sources: [{manifest: a}]", override) == [f"command line: {reason}"]


def test_each_problem_is_attributed_to_its_origin(problems):
    assert problems("train: {warmup: 50}\nrum: x", "train.max_steps=20", "target.kind=forecast", "oops") == [
        "command line: 'oops' is not an override; write a.b=value, for example train.lr=1e-4",
        "command line: target.std_weight is not a field of forecast; its fields are kind, horizons, distance, forecast",
        "command line: target.cov_weight is not a field of forecast; its fields are kind, horizons, distance, forecast",
        "command line: train: warmup (50) must be less than max_steps (20)",
        "demo.yaml: rum is not a field of Recipe; did you mean run?",
    ]


def test_a_mapping_in_memory_is_validated_in_the_same_way():
    stored = {"train": {"lr": "1e-4"}, "folder": Path("a"), "size": (3, 4)}
    assert parse_config(Recipe, stored, "state.json") == Recipe(train=Train(lr=1e-4), folder=Path("a"), size=(3, 4))
    with pytest.raises(ConfigError, match=r"^state.json: train.lr is true; expected a number$"):
        parse_config(Recipe, {"train": {"lr": True}}, "state.json")


# --- writing


RICH = Recipe(
    run="1e-4",  # text that looks like a number
    folder=Path("a/b c"),
    objectives={"no": VICReg(std_weight=1e-05), "7": Forecast(horizons=(), distance="smooth")},
    target=Forecast(horizons=(1, 2, 3)),
    ema=Forecast(),
    size=(3, 4),
    sources=(Source(manifest=Path("1_000"), weight=1e20), Source(manifest=Path("ü: #"))),
    tracker={"a": None, "b": [1, [2.5, "no"]], "c": {"d": "line\nline", "e": True, "f": "12:30", "g": "null", "h": ""}},
)


@pytest.mark.parametrize("recipe", [Recipe(), RICH], ids=["defaults", "rich"])
def test_a_saved_config_loads_as_equal(recipe, tmp_path):
    save_config(recipe, tmp_path / "new" / "recipe.yaml")
    assert load_config(Recipe, tmp_path / "new" / "recipe.yaml") == recipe
    assert parse_config(Recipe, json.loads(json.dumps(recipe.model_dump(mode="json"))), "state.json") == recipe
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["recipe.yaml"]


def test_other_yaml_readers_parse_the_same_values():
    assert yaml.safe_load(dump_config(RICH)) == RICH.model_dump(mode="json")


def test_a_dump_has_every_default_in_the_order_of_the_fields_with_kind_first():
    class Late(VICReg):
        kind: Literal["late"] = "late"

    class Later(Config):
        first: int = 1
        kind: Literal["later"] = "later"
        parts: tuple[Late, ...] = (Late(),)
        widths: tuple[int, ...] = (1, 2)

    lines = ["kind: later", "first: 1", "parts:", "- kind: late", "  std_weight: 25.0", "  cov_weight: 1.0"]
    assert dump_config(Later()).splitlines() == [*lines, "widths: [1, 2]"]


def test_an_interrupted_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "recipe.yaml"
    save_config(Recipe(run="old"), path)
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_config(Recipe(run="new"), path)
    assert load_config(Recipe, path).run == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_schema_names_fields_and_kinds():
    described = json.dumps(json_schema(Recipe))
    assert "std_weight" in described
    assert '"discriminator"' in described
