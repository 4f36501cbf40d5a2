"""The decisions of dev.py. Installation itself is tested by running it."""

import argparse
import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from worldmodel.manifest import Clip, Manifest, write_manifest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """dev.py as a module, in an empty project."""
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "installed.json")
    (tmp_path / ".venv").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return module


@pytest.fixture
def commands(dev, monkeypatch):
    """The commands that set_up would run; none is run."""
    taken = []
    monkeypatch.setattr(dev, "step", lambda title, tries: taken.extend(tries))
    return taken


def test_without_nvidia_the_small_torch_is_tried_first_and_the_plain_one_last(dev):
    tries = dev.torch_tries("linux", nvidia=False)
    assert tries[0] == ["torch==2.13.0+cpu"]
    assert "https://download.pytorch.org/whl/cpu" in tries[1]
    assert tries[1][-4:] == ["--timeout", "10", "--retries", "0"]  # fails at once if the host cannot be reached
    assert tries[2:] == [["torch==2.13.0"], ["torch>=2.7"]]


@pytest.mark.parametrize(("system", "nvidia"), [("linux", True), ("darwin", False), ("win32", False), ("win32", True)])
def test_on_other_systems_torch_is_the_plain_build(dev, system, nvidia):
    assert dev.torch_tries(system, nvidia) == [["torch==2.13.0"], ["torch>=2.7"]]


def test_an_install_is_skipped_only_if_nothing_it_depends_on_changed(dev, commands, tmp_path, monkeypatch):
    monkeypatch.setattr(dev, "installed", lambda package: "2.13.0+cpu")
    dev.set_up()
    assert commands
    commands.clear()
    dev.set_up()
    assert commands == []
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    dev.set_up()
    assert commands
    commands.clear()
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    dev.set_up()
    assert commands


def test_an_interrupted_install_is_repeated(dev, commands, monkeypatch):
    monkeypatch.setattr(dev, "installed", lambda package: "2.13.0+cpu")
    dev.set_up()
    (dev.HERE / "pyproject.toml").write_text("changed")

    def interrupted(title, tries):
        raise KeyboardInterrupt

    whole = dev.step
    monkeypatch.setattr(dev, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dev.set_up()
    monkeypatch.setattr(dev, "step", whole)
    (dev.HERE / "pyproject.toml").write_text("[project]\n")  # even if the file is again what was installed before
    commands.clear()
    dev.set_up()
    assert commands


def test_a_torch_that_is_already_installed_is_kept_and_pinned(dev, commands, monkeypatch):
    monkeypatch.setattr(dev, "installed", lambda package: "2.9.0+cu128")
    dev.set_up()
    assert (dev.VENV / "constraints.txt").read_text() == "torch==2.9.0+cu128\n"
    (install,) = commands
    assert install[-4:] == ["--constraint", str(dev.VENV / "constraints.txt"), "--editable", f"{dev.HERE}[dev]"]


def test_a_missing_ensurepip_is_reported_with_what_to_install(dev, commands, monkeypatch):
    monkeypatch.setattr(dev, "PYTHON", dev.VENV / "none")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(dev.StepError, match=rf"no ensurepip.*sudo apt install python3\.{sys.version_info[1]}-venv"):
        dev.set_up()
    assert commands == []


def test_a_step_uses_the_first_command_that_succeeds_and_shows_the_output_if_none_does(dev, capfd):
    fail, succeed = ([sys.executable, "-c", f"import sys; print('output'); sys.exit({code})"] for code in (3, 0))
    dev.step("trying", [fail, succeed])
    assert re.fullmatch(r"trying \.\.\. \d+ s, at try 2\n", capfd.readouterr().out)
    with pytest.raises(dev.StepError, match="trying: failed"):
        dev.step("trying", [fail, fail])
    assert capfd.readouterr().out == "trying ... failed\noutput\noutput\n"


def test_a_part_of_the_demo_that_fails_ends_it_with_its_exit_code(dev, monkeypatch, capsys):
    monkeypatch.setattr(dev, "set_up", lambda: None)
    ran = []
    monkeypatch.setattr(dev, "run", lambda arguments: ran.append(arguments) or 7)
    assert dev.main(["demo"]) == 7
    assert len(ran) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_missing_folder_of_videos_is_reported_before_anything_is_installed(dev, capsys):
    assert dev.main(["demo", "--videos", "nowhere"]) == 1
    assert capsys.readouterr().err == "dev.py: --videos nowhere: no such folder\n"


def test_a_quick_demo_and_a_full_one_share_no_run_and_no_videos(dev):
    quick, whole = (dev.demo_parts(name, None, name == "demo_quick") for name in ("demo_quick", "demo"))
    assert quick[-1][0] == "violation of expectation"
    assert [title for title, _ in whole][-2:] == ["violation of expectation in other worlds", "one model in several worlds"]
    assert not {argument for _, part in quick for argument in part if "demo/" in argument}
    assert "run=runs/demo" in dict(whole)["train"]


def test_two_folders_of_one_name_share_neither_videos_nor_run(dev, tmp_path):
    one, two = (tmp_path / person / "my videos" for person in ("anna", "ben"))
    names = [dev.demo_name(folder, quick) for folder in (one, two) for quick in (False, True)]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"my_videos_[0-9a-f]{6}(_quick)?", name) for name in names)
    assert names[0] == dev.demo_name(tmp_path / "anna" / "." / "my videos", False)
    assert [dev.demo_name(None, quick) for quick in (False, True)] == ["demo", "demo_quick"]


def test_a_changed_folder_gets_a_new_model_and_an_interrupted_demo_resumes(dev, tmp_path, capsys):
    def state(run_name, **content):
        folder = tmp_path / "runs" / run_name / "checkpoints" / "00000010"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text(json.dumps(content))

    def manifest(*names):
        clips = [Clip(n, n, None, 0.0, 1.0, 10.0, 10, 64, 64, 0, "h264", "train", None, None, "s", n) for n in names]
        write_manifest(tmp_path / "m.parquet", clips, command="test", config={})
        return Manifest.open(tmp_path / "m.parquet").digest()

    before = manifest("a", "b")
    assert dev.run_of("mine", tmp_path / "m.parquet") == "mine"
    state("mine", data=[before])
    assert dev.run_of("mine", tmp_path / "m.parquet") == "mine"
    assert capsys.readouterr().out == ""
    after = manifest("a", "b", "c")
    assert dev.run_of("mine", tmp_path / "m.parquet") == "mine_2"
    assert "runs/mine holds a model of other videos" in capsys.readouterr().out
    state("mine_2", data=[after])
    assert dev.run_of("mine", tmp_path / "m.parquet") == "mine_2"
    state("mine_2", windows=[4])  # of an earlier version, which did not record its data
    assert dev.run_of("mine", tmp_path / "m.parquet") == "mine_3"


@pytest.mark.parametrize("videos", [None, Path("some")])
@pytest.mark.parametrize("quick", [False, True])
def test_overrides_of_the_demo_are_fields_of_its_recipes(dev, videos, quick):
    from worldmodel.config import load_config
    from worldmodel.recipe import Recipe

    (arguments,) = (part for title, part in dev.demo_parts("mine", videos, quick) if title == "train")
    _, recipe, *overrides = arguments[arguments.index("worldmodel/train.py") :]
    assert load_config(Recipe, ROOT / recipe, overrides).run == "runs/mine"


def test_arguments_after_test_reach_pytest_in_their_order(dev, monkeypatch):
    monkeypatch.setattr(dev, "set_up", lambda: None)
    ran = []
    monkeypatch.setattr(dev, "run", lambda arguments: ran.append(arguments) or 0)
    assert dev.main(["test", "--fast", "-k", "config", "tests/test_config.py", "-x"]) == 0
    assert ran[-1] == ["-m", "pytest", *dev.PARALLEL, "-m", "not slow", "-k", "config", "tests/test_config.py", "-x"]
    assert [arguments[1] for arguments in ran] == ["ruff", "ruff", "mypy", "pytest"]


def test_a_failing_check_does_not_prevent_others_and_fails_the_run(dev, monkeypatch, capsys):
    monkeypatch.setattr(dev, "set_up", lambda: None)
    monkeypatch.setattr(dev, "run", lambda arguments: {"mypy": 2}.get(arguments[1], 0))
    assert dev.main(["test"]) == 2
    output = capsys.readouterr()
    assert output.out.count("passed") == 3
    assert output.err == "dev.py: failed: mypy\n"


def test_the_summary_uses_the_last_complete_row_and_the_better_of_two_baselines(dev, tmp_path):
    health = [
        {"step": 100, "verdict": "warming_up"},
        {"step": 200, "verdict": "healthy", "effective_rank": 12.34}
        | {"skill_copy/0.5": 0.4, "skill_mean/0.5": 0.31, "skill_copy/1.0": -0.2, "skill_mean/1.0": 0.5}
        | {"skill_copy/10.0": 0.1, "skill_mean/10.0": 0.2, "skill_copy/2.0": None, "skill_mean/2.0": 0.2},
    ]
    metrics = [{"step": update, "samples_per_s": speed} for update, speed in [(10, 2.0), (20, 50.0), (30, 52.0)]]
    (tmp_path / "health.jsonl").write_text("".join(json.dumps(row) + "\n" for row in health) + '{"step": 3')
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in metrics) + '{"step": 30, "val/loss": 1}\n'
    )
    assert dev.summary(tmp_path) == [
        ("verdict", "healthy"),
        ("skill at 0.5 s", "0.31"),
        ("skill at 1.0 s", "-0.20"),
        ("skill at 10.0 s", "0.10"),
        ("effective rank", "12.3"),
        ("training steps", "30"),
        ("windows per second", "50"),
    ]


@pytest.mark.parametrize("has_suite", [True, False])
def test_the_suggested_commands_are_commands(dev, has_suite):
    """Each is parsed by its own module, so that a renamed flag is noticed."""
    for command in dev.next_commands("runs/demo", has_suite):
        _, module, *arguments = command.split()
        if module == "eval":
            parser = argparse.ArgumentParser()
            importlib.import_module(f"eval.commands.{arguments[0]}").add_arguments(parser)
            parser.parse_args(arguments[1:])
        else:
            assert (module, arguments) == ("worldmodel.rollout", ["runs/demo", "--samples", "4"])


def test_a_run_without_logs_has_an_empty_summary(dev, tmp_path):
    assert dev.summary(tmp_path) == []


def test_dev_needs_nothing_but_the_standard_library():
    command = [sys.executable, "-I", "-S", str(ROOT / "dev.py"), "--help"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "python3 dev.py demo" in output


def test_a_python_that_is_too_old_can_parse_dev_and_gets_a_message(dev):
    source = (ROOT / "dev.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    before = source.partition("HERE = ")[0].replace("sys.version_info <", "(3, 6) <")
    done = subprocess.run([sys.executable, "-c", before], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Python 3.10 or newer is needed" in done.stderr
