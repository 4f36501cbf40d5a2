"""Tables of scores, read back."""

from __future__ import annotations

import csv
import json

from eval.voe.scores.tables import csv_rows, markdown, write_tables


def number(value: float, **more) -> dict:
    interval = {"value": value, "low": value - 0.1, "high": value + 0.1}
    return {**interval, "n": 40, "chance": 0.5, "p": 0.002, "pixel_baselines": {}, "baselines": {}, **more}


def tree_of(cells: dict) -> dict:
    """property -> scores of occluded trials, as given, and of "all" visibilities, which are 1."""
    return {
        name: {"all": {"all": {"all": {"both": number(1.0)}}}, "occluded": {"all": {"all": {"both": entry}}}}
        for name, entry in cells.items()
    }


BESIDE = {
    "pixel_baselines": {"pixel copy": 0.5},
    "baselines": {
        "untrained": {"value": 0.52, "p": 0.001, "p_holm": 0.004, "seeds": [0.45, 0.58]},
        "latent copy": {"value": 0.6, "p": 0.3},
    },
}
SCORES = {
    "headline": {"whitened": {"range": [0.4, 0.9], "n": 12, "reason": "fewer than 30 trials"}},
    "tree": {
        "locked": {
            "whitened": tree_of({"all": number(0.75, **BESIDE), "shape": number(0.8, p_holm=0.02, **BESIDE)}),
            "latent distance": tree_of({"all": number(0.625)}),
            "pixel copy": tree_of({"all": number(0.5)}),
            "diagonal": tree_of({"all": number(0.7)}),
        }
    },
    "notes": ["A note."],
    "left_out": {"whitened": ["f1", "f2"]},
}


def lines_of(text: str, title: str) -> list[str]:
    block = text[text.index(title) :].split("\n\n")[1]
    return block.splitlines()


def test_properties_by_scorers_with_intervals():
    lines = lines_of(markdown(SCORES), "**Locked windows**")
    assert lines[0] == "| property | n | whitened | latent distance |"  # neither baselines nor ablations are columns here
    assert lines[2] == "| all | 40 | 75.0 [65.0, 85.0] | 62.5 [52.5, 72.5] |"  # occluded, not all
    assert lines[3] == "| shape | 40 | 80.0 [70.0, 90.0] | – |"


def test_an_ablation_of_whitening_has_a_table_from_none_to_the_most():
    assert "Ablation of whitening" not in markdown(SCORES)  # raw, diagonal and whitened are in every evaluation
    locked = SCORES["tree"]["locked"] | {f"whitened, {n} videos": tree_of({"all": number(0.7)}) for n in (100, 25)}
    lines = lines_of(markdown({**SCORES, "tree": {"locked": locked}}), "**Ablation of whitening, locked windows**")
    assert lines[0] == "| property | n | latent distance | diagonal | whitened, 25 videos | whitened, 100 videos | whitened |"
    assert lines[2].startswith("| all | 40 | 62.5 [52.5, 72.5] | 70.0 [60.0, 80.0] | 70.0")


def test_each_scorer_has_a_table_with_its_baselines():
    lines = lines_of(markdown(SCORES), "**whitened, locked windows**")
    assert lines[0] == "| property | n | whitened | p (Holm) | untrained | latent copy | pixel copy |"
    # the star: better than untrained with p = .004 over properties; p = .3 has none
    assert lines[3] == "| shape | 40 | 80.0 [70.0, 90.0] | 0.0200 | 52.0* (45.0 to 58.0) | 60.0 | 50.0 |"
    assert lines[2].startswith("| all | 40 | 75.0 [65.0, 85.0] | 0.0020 |")


def test_ranges_notes_and_missing_videos_are_listed():
    text = markdown(SCORES)
    assert "whitened: between 40.0 and 90.0 of 12 trials (fewer than 30 trials: no headline)." in text
    assert "A note." in text
    assert "whitened: 2" in text


def test_each_row_of_the_csv_file_is_one_score(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(SCORES))
    write_tables(tmp_path)
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 5  # each cell occluded and all
    shape = next(row for row in rows if row["property"] == "shape" and row["visibility"] == "occluded")
    assert (shape["windows"], shape["scorer"], shape["pairs"]) == ("locked", "whitened", "both")
    assert (float(shape["value"]), float(shape["p_holm"]), float(shape["pixel copy"])) == (0.8, 0.02, 0.5)
    assert (float(shape["untrained"]), float(shape["p against latent copy"])) == (0.52, 0.3)
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == markdown(SCORES)


def test_nothing_scored_is_an_empty_table():
    scores = {"headline": {}, "tree": {}, "notes": ["No labels."]}
    assert markdown(scores) == "No labels."
    assert len(list(csv_rows({}))) == 1


def test_a_balanced_score_that_does_not_exist_is_no_row():
    tree = {
        "sliding": {"latent distance": {"shape": {"all": {"all": {"all": {"both": number(0.5)}, "balanced": {"both": None}}}}}}
    }
    assert len(list(csv_rows(tree))) == 2
