"""Paired measurements: order of the runs, CPU time of child processes, medians, output."""

import json
import subprocess
import sys
import time

import pytest

from benchmarks.measure import Comparison, Samples, cpu_time_s, describe_machine, markdown_table, paired, write_results
from worldmodel.files.outputs import ForeignFileError

BUSY = "import time\nwhile time.process_time() < {}: pass"


def test_contenders_run_in_turn_and_each_round_begins_with_another_one():
    calls = []
    paired({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"


def test_a_sleeping_contender_costs_wall_time_and_no_cpu_time():
    result = paired({"sleep": lambda: time.sleep(0.1)}, rounds=1, warmups=0)
    assert result.wall_s("sleep") >= 0.1
    assert result.cpu_s("sleep") < 0.05


def test_cpu_time_includes_children_that_have_ended_and_those_that_still_run():
    before = cpu_time_s()
    subprocess.run([sys.executable, "-c", BUSY.format(0.2)], check=True)
    ended = cpu_time_s()
    assert 0.2 <= ended - before < 2
    with subprocess.Popen([sys.executable, "-c", BUSY.format(0.2) + "\nprint('done', flush=True)\ninput()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:  # fmt: skip
        assert child.stdout.readline() == b"done\n"
        assert cpu_time_s() - ended >= 0.19
        child.communicate(b"\n")


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds():
    one, other = (1.0, 2.0, 4.0), (1.0, 1.0, 1.0)
    comparison = Comparison({"one": Samples(one, other), "other": Samples(other, other)})
    ratio = comparison.ratio("one", "other")
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 1.5, 3.0)
    assert str(ratio) == "2.00 (1.50-3.00)"
    assert comparison.as_json("other")["one"]["cpu_ratio_to_other"]["median"] == 2.0


def test_results_are_written_with_the_machine_and_replace_no_file_of_others(tmp_path):
    machine = describe_machine(("numpy", "not-a-package"))
    assert set(machine.versions) == {"Python", "numpy"}
    write_results(tmp_path / "r.json", machine, {"x": 1})
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["x"] == 1
    assert content["machine"]["cores"] >= 1
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ForeignFileError):
        write_results(tmp_path / "other.json", machine, {})


def test_a_table_has_a_row_of_dashes():
    assert markdown_table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"


def test_the_search_for_child_processes_is_not_part_of_the_result(monkeypatch):
    def busy():
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        return 0.0

    monkeypatch.setattr("benchmarks.measure._children_cpu_s", busy)
    assert paired({"nothing": lambda: None}, rounds=1, warmups=0).cpu_s("nothing") < 0.02
