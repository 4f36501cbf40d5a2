"""Write the tables and the page of an evaluation, and print its scores."""

from __future__ import annotations

from pathlib import Path

from eval.report.page import write_report
from eval.report.terminal import print_scores
from eval.result_folder import read_result, reading_results
from eval.voe.evaluation import RESULT_FILES
from eval.voe.scores.tables import write_tables
from worldmodel.process.terminal import print_escaped


def publish(out: Path) -> None:
    """Write tables and page from OUT/scores.json, and print the main scores and the page's path."""
    with reading_results(out, (*RESULT_FILES, "scores.json")):
        write_tables(out)
        page = write_report(out)
        print_scores(read_result(out / "scores.json"))
    print_escaped(page)
