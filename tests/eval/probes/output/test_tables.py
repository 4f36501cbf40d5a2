"""Cells of tables: an interval always, a unit where there is one, a dash for a missing number."""

from eval.probes.output.tables import cell


def test_cells_by_hand():
    score = {"value": 0.5, "low": 0.25, "high": 0.75, "error": 3.21}
    assert cell(score) == "0.50 [0.25, 0.75]"
    assert cell(score, "px") == "0.50 [0.25, 0.75]; 3.2 px"
    assert cell({**score, "value": None}, "px") == cell(None) == "–"
