"""The training report: its findings, from complete, partial and damaged run folders."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from eval.__main__ import main
from eval.report.training.findings import findings
from eval.report.training.plots import MAX_POINTS, thinned, tick_label
from eval.report.training.run_folder import Span, open_run
from worldmodel.health.advice import VERDICT_TEXTS, Verdict

HOSTILE = "<script>window.pwned=1</script>"


def answers(run: Path) -> dict[str, str]:
    return {entry.question: entry.answer for entry in findings(open_run(run))}


def detail(run: Path, question: str) -> str:
    return next(entry.detail for entry in findings(open_run(run)) if entry.question == question)


def page(run: Path) -> str:
    assert main(["report", str(run)]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_a_temporary_collapse_is_reported_with_its_steps(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    assert answers(run) == {
        "Did it learn?": "Yes",
        "Is it healthy?": "Yes",
        "Did it collapse?": "Temporarily",
        "What limited the speed?": "Computation",
    }
    assert detail(run, "Did it collapse?") == "Dimensional collapse between steps 200 and 400; it recovered."
    assert "It was higher at step 500 (0.50)" in detail(run, "Did it learn?")
    assert open_run(run).spans[2:] == [Span("dimensional_collapse", 200, 400), Span("healthy", 400, 600)]


def test_skill_of_collapsed_latents_is_no_learning(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run", verdicts=("healthy", "complete_collapse"), skills=(0.3, 0.9), steps=200)
    assert answers(run)["Did it learn?"] == "No"
    assert answers(run)["Is it healthy?"] == "Complete collapse"
    assert detail(run, "Did it collapse?").startswith("Complete collapse from step 100 on.")


@pytest.mark.parametrize(
    ("skills", "answer", "expected"),
    [
        ((0.1, 0.2, 0.3, 0.4), "Yes", "It was still rising at the end"),
        ((0.3, 0.39, 0.395, 0.4), "Yes", "It no longer rises"),
        ((-0.3, -0.2, -0.1, 0.04), "No", "no better than the better of two baselines"),
        ((None, None, None, None), "No", "held-out latents do not vary"),
    ],
)
def test_learning_is_judged_by_the_skill_on_held_out_windows(make_run, tmp_path: Path, skills, answer, expected):
    run = make_run(tmp_path / "run", verdicts=("healthy",) * 4, skills=skills if skills[0] is not None else (0,) * 4, steps=400)
    if skills[0] is None:
        text = (run / "health.jsonl").read_text()
        (run / "health.jsonl").write_text(text.replace('"skill": 0', '"skill": null'))
    assert answers(run)["Did it learn?"] == answer
    assert expected in detail(run, "Did it learn?")
    page(run)


def test_times_equal_those_computed_by_hand(make_run, tmp_path: Path):
    """60 rows of 10 s; the five rows after a health check took 5 s more. The first row is left out: workers started in it."""
    times = open_run(make_run(tmp_path / "run", wait=0.4)).times
    assert times.total_s == pytest.approx(59 * 10 + 5 * 5)
    assert times.checking_s == pytest.approx(5 * 5)
    assert times.waiting == pytest.approx(0.4)
    assert times.computing == pytest.approx(1 - 0.4 - 25 / 615)


def test_the_report_of_a_run_that_waits_for_data_names_the_setting_to_raise(make_run, tmp_path: Path):
    assert answers(make_run(tmp_path / "some", wait=0.2))["What limited the speed?"] == "Partly data loading"
    run = make_run(tmp_path / "much", wait=0.5)
    assert answers(run)["What limited the speed?"] == "Data loading"
    assert "Raise data.workers (now 2)" in detail(run, "What limited the speed?")


def test_the_table_is_of_the_best_checkpoint_and_not_of_the_last(make_run, tmp_path: Path):
    html = page(make_run(tmp_path / "run"))
    assert "Skill at the best checkpoint, step 500" in html
    assert html.count("<td>0.50</td>") == 9  # three baselines, three horizons
    assert "<td>0.40</td>" not in html


def test_each_part_of_the_loss_has_a_figure_unless_it_is_always_zero(make_run, tmp_path: Path):
    html = page(make_run(tmp_path / "run"))
    assert [f"<b>{name}</b>" in html for name in ("Total loss", "forecast/direct", "spread/std")] == [True] * 3
    assert "forecast/imagined" not in html
    assert "Clipped to 1 in 100 % of the rows" in html


def test_names_from_disk_are_escaped(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    bad = {"step": 3, "path": f"{HOSTILE}.mp4", "reason": HOSTILE}
    (run / "bad_clips.jsonl").write_text(json.dumps(bad) + "\n")
    html = page(run)
    assert HOSTILE not in html
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;.mp4" in html


def test_a_run_that_is_still_training_has_a_report(make_run, tmp_path: Path):
    """A truncated line, no health check and no checkpoint; then no row at all."""
    run = make_run(tmp_path / "run", verdicts=(), skills=(), steps=50, max_steps=100)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "lo')
    html = page(run)
    assert "50 of 100 steps" in html
    assert "unfinished, about 50 s remaining" in html
    assert answers(run)["Did it learn?"] == "Not known"
    assert "The loss went from 5 to 1. This alone says little" in detail(run, "Did it learn?")
    for name in ("metrics.jsonl", "health.jsonl"):
        (run / name).unlink()
    assert "no row of metrics yet" in page(run)
    (run / "recipe.yaml").unlink()
    (run / "metrics.jsonl").write_text("")
    assert "The folder contains no recipe.yaml" in page(run)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        (None, "", "is no run folder: it contains no recipe.yaml and no metrics.jsonl"),
        ("metrics.jsonl", "not json\n", "metrics.jsonl is no log of a run"),
        ("metrics.jsonl", "[1]\n", "none of its lines is a JSON object with a step"),
        ("recipe.yaml", "a: [\n", "invalid YAML"),
    ],
)
def test_a_folder_that_is_no_run_gives_an_error_of_one_line(tmp_path: Path, capsys, file, content, expected):
    if file:
        (tmp_path / file).write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


@pytest.mark.parametrize(
    ("log", "changed"),
    [
        ("metrics", {"loss": "low"}),
        ("metrics", {"loss/spread/std": [1]}),
        ("metrics", {"samples": None}),
        ("metrics", {"seconds": {}}),
        ("metrics", {"lr": 1e308}),
        ("metrics", {"samples_per_s": "fast"}),
        ("metrics", {"grad_norm": True}),
        ("metrics", {"step": -1}),
        ("health", {"verdict": None}),
        ("health", {"skill": "high"}),
        ("health", {"skill_copy/0.25": []}),
        ("health", {"max_rank": "8"}),
        ("health", {"step": "600"}),
    ],
)
def test_rows_with_values_of_another_type_are_left_out_and_counted(make_run, tmp_path: Path, capsys, log, changed):
    run = make_run(tmp_path / "run")
    whole, path = open_run(run), run / f"{log}.jsonl"
    lines = path.read_text().splitlines()
    damaged = json.dumps({**json.loads(lines[-1]), **changed})
    path.write_text("\n".join([lines[0], "not json", damaged, *lines[1:], damaged]) + "\n")
    assert getattr(open_run(run), log) == getattr(whole, log)
    assert f"{path}: 3 damaged row(s) left out" in capsys.readouterr().err
    assert f"3 damaged row(s) of {log}.jsonl left out" in page(run)


def test_unknown_names_and_a_damaged_best_json_do_not_prevent_the_report(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    whole = open_run(run).horizons
    rows = [json.loads(line) for line in (run / "health.jsonl").read_text().splitlines()]
    odd = {"skill_copy/far": 0.1, "skill_copy/inf": 0.1, "max_rank": -8, "advice": [1]}
    (run / "health.jsonl").write_text("".join(json.dumps({**row, **odd}) + "\n" for row in rows))
    (run / "best.json").write_text('{"checkpoint": "last", "skill": "high"}')
    assert open_run(run).horizons == whole
    assert "damaged row" not in page(run)


def test_the_machine_is_shown_if_checkpoints_state_it(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    assert "not stated in the checkpoints of this run" in page(run)
    (run / "checkpoints" / "00000600").mkdir(parents=True)
    machine = {"device": "Some GPU", "processes": 3, "versions": {"torch": "9.9"}}
    (run / "checkpoints" / "00000600" / "state.json").write_text(json.dumps({"machine": machine}))
    html = page(run)
    assert "Some GPU" in html
    assert "torch 9.9" in html


def test_every_verdict_has_a_description(make_run, tmp_path: Path):
    assert set(VERDICT_TEXTS) == set(get_args(Verdict))
    run = make_run(tmp_path / "run", verdicts=("added_by_a_later_version",), skills=(0.1,), steps=100)
    assert answers(run)["Is it healthy?"] == "Added by a later version"
    page(run)


def test_long_lines_keep_their_peaks():
    x_values, values = np.arange(100_000.0), np.zeros(100_000)
    values[77_777], values[3] = 9.0, np.nan
    x, y = thinned(x_values, values)
    assert len(y) <= MAX_POINTS
    assert x[y.argmax()] == 77_777
    assert (np.diff(x) > 0).all()


def test_tick_labels_are_short():
    assert [tick_label(value) for value in (0, 0.25, 1000, 0.00024, 1e-7, 2e6)] == [
        "0",
        "0.25",
        "1,000",
        "2.4e-4",
        "1e-7",
        "2e6",
    ]


def test_a_report_is_made_without_torch(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    code = f"import sys; from eval.__main__ import main; main(['report', {str(run)!r}]); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""


def test_an_unreadable_video_without_a_reason_is_left_out(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    rows = [{"step": 3, "path": "whole.mp4", "reason": "cut"}, {"step": 4, "path": "other.mp4"}]
    (run / "bad_clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    html = page(run)
    assert "whole.mp4" in html
    assert "other.mp4" not in html
