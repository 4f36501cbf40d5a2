"""One run as one page: what it answers at first glance, from whatever of a run is there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from eval.__main__ import main
from eval.report.training.findings import findings
from eval.report.training.plots import MOST_POINTS, short, thinned
from eval.report.training.run_folder import Span, open_run
from eval.report.training.verdicts import VERDICTS
from worldmodel.health.diagnostics import Verdict

HOSTILE = "<script>window.pwned=1</script>"


def answers(run: Path) -> dict[str, str]:
    return {it.question: it.answer for it in findings(open_run(run))}


def words(run: Path, question: str) -> str:
    return next(it.words for it in findings(open_run(run)) if it.question == question)


def page(run: Path) -> str:
    assert main(["report", str(run)]) == 0
    return (run / "report.html").read_text(encoding="utf-8")


def test_a_run_that_recovered_says_when_it_had_collapsed(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    assert answers(run) == {
        "Did it learn?": "Yes",
        "Is it healthy?": "Yes",
        "Did it collapse?": "For a while",
        "What set its pace?": "Computing",
    }
    assert words(run, "Did it collapse?") == "Dimensional collapse between updates 200 and 400; it recovered."
    assert "It was better at update 500 (0.50)" in words(run, "Did it learn?")
    assert open_run(run).spans[2:] == [Span("dimensional_collapse", 200, 400), Span("healthy", 400, 600)]


def test_skill_among_collapsed_latents_is_no_learning(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run", verdicts=("healthy", "complete_collapse"), skills=(0.3, 0.9), updates=200)
    assert answers(run)["Did it learn?"] == "No"
    assert answers(run)["Is it healthy?"] == "Complete collapse"
    assert words(run, "Did it collapse?").startswith("Complete collapse from update 100 on.")


@pytest.mark.parametrize(
    ("skills", "answer", "said"),
    [
        ((0.1, 0.2, 0.3, 0.4), "Yes", "It still rose at the end"),
        ((0.3, 0.39, 0.395, 0.4), "Yes", "It had levelled off"),
        ((-0.3, -0.2, -0.1, 0.04), "No", "no better than repeating the last latent"),
        ((None, None, None, None), "No", "held-out latents do not vary"),
    ],
)
def test_what_it_learnt_is_what_it_foresees_on_windows_held_out(make_run, tmp_path: Path, skills, answer, said):
    run = make_run(
        tmp_path / "run", verdicts=("healthy",) * 4, skills=skills if skills[0] is not None else (0,) * 4, updates=400
    )
    if skills[0] is None:
        text = (run / "health.jsonl").read_text()
        (run / "health.jsonl").write_text(text.replace('"skill": 0', '"skill": null'))
    assert answers(run)["Did it learn?"] == answer
    assert said in words(run, "Did it learn?")
    page(run)


def test_times_are_those_worked_by_hand(make_run, tmp_path: Path):
    """60 rows of 10 s, of which the five after a look took 5 s more; the first is left out, workers started in it."""
    times = open_run(make_run(tmp_path / "run", wait=0.4)).times
    assert times.total_s == pytest.approx(59 * 10 + 5 * 5)
    assert times.looking_s == pytest.approx(5 * 5)
    assert times.waiting == pytest.approx(0.4)
    assert times.computing == pytest.approx(1 - 0.4 - 25 / 615)


def test_a_run_that_waits_for_data_is_told_what_to_raise(make_run, tmp_path: Path):
    assert answers(make_run(tmp_path / "some", wait=0.2))["What set its pace?"] == "Partly data"
    run = make_run(tmp_path / "much", wait=0.5)
    assert answers(run)["What set its pace?"] == "Data"
    assert "Raise data.workers (2 now)" in words(run, "What set its pace?")


def test_the_table_is_of_the_best_checkpoint_and_not_of_the_last(make_run, tmp_path: Path):
    html = page(make_run(tmp_path / "run"))
    assert "Skill at the best checkpoint, update 500" in html
    assert html.count("<td>0.50</td>") == 9  # three baselines, three horizons
    assert "<td>0.40</td>" not in html


def test_losses_are_drawn_part_by_part_but_for_those_that_are_nothing(make_run, tmp_path: Path):
    html = page(make_run(tmp_path / "run"))
    assert [f"<b>{name}</b>" in html for name in ("Total loss", "forecast/direct", "spread/std")] == [True] * 3
    assert "forecast/imagined" not in html
    assert "Clipped to 1 in 100% of the rows" in html


def test_names_from_disk_are_text(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    bad = {"step": 3, "path": f"{HOSTILE}.mp4", "reason": HOSTILE}
    (run / "bad_clips.jsonl").write_text(json.dumps(bad) + "\n")
    html = page(run)
    assert HOSTILE not in html
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;.mp4" in html


def test_a_run_that_still_trains_can_be_looked_at(make_run, tmp_path: Path):
    """A line cut short by a kill, no look yet, no checkpoint; then not even a row."""
    run = make_run(tmp_path / "run", verdicts=(), skills=(), updates=50, planned=100)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "lo')
    html = page(run)
    assert "50 of 100 updates" in html
    assert "unfinished, about 50 s of work left" in html
    assert answers(run)["Did it learn?"] == "Not known"
    assert "The loss went from 5 to 1, which alone says nothing" in words(run, "Did it learn?")
    for name in ("metrics.jsonl", "health.jsonl"):
        (run / name).unlink()
    assert "no row of metrics yet" in page(run)
    (run / "recipe.yaml").unlink()
    (run / "metrics.jsonl").write_text("")
    assert "There is no recipe.yaml" in page(run)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (None, "", "is no run folder: no recipe.yaml and no metrics.jsonl in it"),
        ("metrics.jsonl", "not json\n", "metrics.jsonl is no log of a run"),
        ("metrics.jsonl", "[1]\n", "none of its lines is a JSON object with an update"),
        ("recipe.yaml", "a: [\n", "not YAML that can be read"),
    ],
)
def test_what_is_no_run_is_one_line(tmp_path: Path, capsys, file, content, said):
    if file:
        (tmp_path / file).write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize(
    ("log", "changed"),
    [
        ("metrics", {"loss": "low"}),
        ("metrics", {"loss/spread/std": [1]}),
        ("metrics", {"samples": None}),
        ("metrics", {"seconds": {}}),
        ("metrics", {"lr": 1e308}),
        ("metrics", {"clips_per_s": "fast"}),
        ("metrics", {"grad_norm": True}),
        ("metrics", {"step": -1}),
        ("health", {"verdict": None}),
        ("health", {"skill": "high"}),
        ("health", {"skill_copy/0.25": []}),
        ("health", {"directions": "8"}),
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


def test_odd_names_and_a_damaged_best_checkpoint_do_not_end_the_report(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    whole = open_run(run).horizons
    rows = [json.loads(line) for line in (run / "health.jsonl").read_text().splitlines()]
    odd = {"skill_copy/far": 0.1, "skill_copy/inf": 0.1, "directions": -8, "advice": [1]}
    (run / "health.jsonl").write_text("".join(json.dumps({**row, **odd}) + "\n" for row in rows))
    (run / "best.json").write_text('{"checkpoint": "last", "skill": "high"}')
    assert open_run(run).horizons == whole
    assert "damaged row" not in page(run)


def test_the_machine_is_told_where_checkpoints_know_it(make_run, tmp_path: Path):
    run = make_run(tmp_path / "run")
    assert "not told by this run" in page(run)
    (run / "checkpoints" / "00000600").mkdir(parents=True)
    machine = {"device": "Some GPU", "processes": 3, "versions": {"torch": "9.9"}}
    (run / "checkpoints" / "00000600" / "state.json").write_text(json.dumps({"machine": machine}))
    html = page(run)
    assert "Some GPU" in html
    assert "torch 9.9" in html


def test_every_verdict_the_doctor_can_give_has_words(make_run, tmp_path: Path):
    assert set(VERDICTS) == set(get_args(Verdict))
    run = make_run(tmp_path / "run", verdicts=("seen_by_a_later_version",), skills=(0.1,), updates=100)
    assert answers(run)["Is it healthy?"] == "Seen by a later version"
    page(run)


def test_long_lines_keep_their_peaks():
    updates, values = np.arange(100_000.0), np.zeros(100_000)
    values[77_777], values[3] = 9.0, np.nan
    x, y = thinned(updates, values)
    assert len(y) <= MOST_POINTS
    assert x[y.argmax()] == 77_777
    assert (np.diff(x) > 0).all()


def test_ticks_are_short():
    assert [short(value) for value in (0, 0.25, 1000, 0.00024, 1e-7, 2e6)] == ["0", "0.25", "1,000", "2.4e-4", "1e-7", "2e6"]


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
