"""The table of scores on the terminal."""

import io

from rich.console import Console

from eval.report.tables import LOCKED_BASELINES
from eval.report.terminal import WIDTH, print_scores


def cell(value: float) -> dict:
    baselines = {name: {"value": 0.5, "p": 0.001} for name in LOCKED_BASELINES[:3]}
    pixels = dict.fromkeys(LOCKED_BASELINES[3:], 0.5)
    interval = {"low": value - 0.1, "high": value + 0.1}
    return {"value": value, **interval, "n": 40, "chance": 0.5, "baselines": baselines, "pixel_baselines": pixels}


def printed(headline: dict) -> list[str]:
    properties = {"all": 0.8, "permanence": 0.875, "[collision]": 0.725}
    tree = {name: {"all": {"all": {"all": {"both": cell(value)}}}} for name, value in properties.items()}
    scores = {"headline": {"whitened": headline}, "tree": {"locked": {"whitened": tree}}, "notes": []}
    text = io.StringIO()
    print_scores(scores, Console(file=text, width=WIDTH))
    return text.getvalue().splitlines()


def test_each_property_has_n_interval_chance_and_all_baselines_in_one_line():
    lines = printed({**cell(0.8), "windows": "locked"})
    (row,) = (line for line in lines if "permanence" in line)
    assert row.split() == ["permanence", "40", "87.5", "77.5–97.5", "50", *["50.0"] * 5]
    assert any("[collision]" in line for line in lines)  # not markup
    assert max(map(len, lines)) <= WIDTH
    assert "Mean of whitened surprise: 80.0 % [70.0, 90.0]" in lines


def test_with_few_trials_an_interval_is_printed_with_the_reason():
    lines = printed({"range": [0.49, 0.59], "n": 20, "reason": "fewer than 30 trials"})
    expected = "Mean of whitened surprise: 49.0 to 59.0 % (95 % interval; no single number: fewer than 30 trials)"
    assert expected in lines


def test_what_went_in_and_how_it_moved_follow_the_mean():
    found = {"value": 0.75, "low": 0.7, "high": 0.8, "n": 40, "properties": ["direction", "spin"]}
    questions = {
        "how it moved": {**found, "baselines": {"shuffled context": 0.5}},
        "what went in": {**found, "baselines": {}},
    }
    scores = {"headline": {"whitened": cell(0.8)}, "questions": {"whitened": questions}, "tree": {}, "notes": []}
    text = io.StringIO()
    print_scores(scores, Console(file=text, width=WIDTH))
    assert text.getvalue().splitlines()[-2:] == [
        "  how it moved: 75.0 % [70.0, 80.0]; shuffled context 50.0",
        "  what went in: 75.0 % [70.0, 80.0]",
    ]
