"""Invalid numbers are refused when arguments are parsed."""

import argparse
import importlib
from pathlib import Path

import pytest

from data_prep.__main__ import COMMANDS as COMMANDS_OF_DATA_PREP
from data_prep.__main__ import main as prepare
from eval.__main__ import COMMANDS as COMMANDS_OF_EVAL
from eval.__main__ import main as evaluate
from worldmodel.process.arguments import frames_or_seconds, path_or_url, whole_number
from worldmodel.process.terminal import escape_line
from worldmodel.rollout import argument_parser
from worldmodel.rollout import main as roll_out
from worldmodel.train import main as train

VOE = ["voe", "--model", "x", "--suite", "builtin:x", "--out", "x"]
PLAUSIBILITY = ["plausibility", "x.mp4", "--model", "x"]
PROBE = ["probe", "--model", "x", "--data", "x", "--out", "x"]


@pytest.mark.parametrize(
    ("main", "command_line", "message"),
    [
        (roll_out, ["x", "--count", "0"], "argument --count: 0: expected 1 to 64"),
        (roll_out, ["x", "--samples", "many"], "argument --samples: many: expected 1 to 8"),
        (roll_out, ["x", "--seconds", "nan"], "argument --seconds: nan: expected seconds, above 0"),
        (roll_out, ["x", "--start-s", "-1"], "argument --start-s: -1: expected seconds, 0 or more"),
        (evaluate, [*VOE, "--horizon", "infs"], "argument --horizon: infs: expected frames (8)"),
        (evaluate, [*VOE, "--contexts", "2,nan"], "argument --contexts: nan: expected frames (8)"),
        (evaluate, [*VOE, "--fps", "0"], "argument --fps: 0: expected frames per second, above 0"),
        (evaluate, [*VOE, "--fps", "nan"], "argument --fps: nan: expected frames per second"),
        (evaluate, [*PLAUSIBILITY, "--fps", "-12"], "argument --fps: -12: expected frames per second"),
        (evaluate, [*PLAUSIBILITY, "--folder-fps", "0"], "argument --folder-fps: 0: expected frames per second"),
        (evaluate, [*VOE, "--untrained-seeds", "-3"], "argument --untrained-seeds: -3: expected 0 or more"),
        (evaluate, [*PROBE, "--max-videos", "0"], "argument --max-videos: 0: expected 1 or more"),
    ],
)
def test_an_invalid_number_is_reported_in_one_line(main, command_line, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(command_line)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_zero_untrained_networks_are_allowed():
    assert whole_number(0)("0") == 0


def parsers() -> dict[str, argparse.ArgumentParser]:
    found = {"rollout": argument_parser()}
    modules = {name: importlib.import_module(path) for name, path in COMMANDS_OF_EVAL.items()} | COMMANDS_OF_DATA_PREP
    for name, module in modules.items():
        found[name] = argparse.ArgumentParser()
        module.add_arguments(found[name])
    return found


PARSERS = parsers()
OPTIONS = [
    (name, action)
    for name, parser in PARSERS.items()
    for action in parser._actions
    if action.option_strings and action.nargs != 0 and action.choices is None
]
NUMBERS = [(name, action) for name, action in OPTIONS if action.type not in (None, Path, path_or_url)]
TEXTS = {"--model", "--suite", "--calibration", "--data", "--split", "--only", "--name", "--properties", "--clip", "--quad"}
TEXTS |= {"--scorer", "--parts", "--strengths"}  # `strengths_of` checks the numbers
TEXTS |= {"--label", "--env", "--task", "--policy", "--policies", "--camera", "--split-by", "--state"}
URLS = {("shard", "--out")}  # a folder or a URL


def test_every_option_is_a_number_a_path_or_listed_as_text():
    texts = {(name, action.option_strings[-1]) for name, action in OPTIONS if action.type is None}
    assert {option for _, option in texts - URLS} <= TEXTS
    assert len(NUMBERS) > 40


@pytest.mark.parametrize(
    ("name", "action"), NUMBERS, ids=lambda entry: entry if isinstance(entry, str) else entry.option_strings[-1].strip("-")
)
def test_numeric_options_of_all_commands_refuse_other_text(name, action):
    for text in ("nan", "inf", "-inf", "-1", "", "many", "1e999"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected"):
            action.type(text)


def test_lengths_are_frames_or_seconds_above_zero():
    assert [frames_or_seconds(text) for text in ("8", "0.5s")] == ["8", "0.5s"]
    for text in ("0", "0s", "nans", "infs", "1.5", "s", "8 frames"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected"):
            frames_or_seconds(text)


@pytest.mark.parametrize(
    "command_line",
    [
        ["synthesize", "s3://bucket/videos"],
        ["collect", "--env", "TwoRooms-v0", "--episodes", "1", "--out", "gs://bucket/set"],
        ["show", "m.parquet", "--out", "https://host/c.png"],
    ],
)
def test_a_url_where_a_path_is_expected_is_refused_and_no_folder_of_that_name_is_made(
    command_line, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        prepare(command_line)
    assert caught.value.code == 2
    url = next(word for word in command_line if "://" in word)
    assert f"{url}: this argument names a file or folder of this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


NOT_UTF8 = "bad\udcff.mp4"  # Python's text for the byte FF in a name


@pytest.mark.parametrize(
    ("main", "command_line"),
    [
        (roll_out, ["x", "--clip", NOT_UTF8]),
        (prepare, ["index", NOT_UTF8, "--out", "m.parquet"]),
        (evaluate, ["report", NOT_UTF8]),
        (train, [f"run={NOT_UTF8}"]),
    ],
)
def test_a_name_that_is_not_utf8_is_refused_in_one_line(main, command_line, capsys):
    with pytest.raises(SystemExit) as caught:
        main(command_line)
    assert caught.value.code == 2
    assert "bad\\udcff.mp4: this name is not UTF-8" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("main", "command_line"),
    [
        (evaluate, ["voe", "--model", "https://user:hunter2@host/run", "--suite", "builtin", "--out", "out"]),
        (prepare, ["curate", "s3://key:hunter2@bucket/m.parquet", "--out", "out.parquet"]),
        (train, ["s3://key:hunter2@bucket/recipe.yaml"]),
    ],
)
def test_a_url_with_a_secret_is_refused_before_any_work_and_not_repeated(main, command_line, capsys):
    with pytest.raises(SystemExit) as caught:
        main(command_line)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "give credentials in the environment" in error
    assert "hunter2" not in error


def test_names_are_printed_on_one_line_without_control_characters():
    assert escape_line("new\nline \x1b[31m \udcff") == "new\\nline \\x1b[31m \\udcff"
    for name in ("a\u202fb.mp4", "c\u00a0d.mp4", "\U0001f468\u200d\U0001f469.mp4"):
        assert escape_line(name) == name
