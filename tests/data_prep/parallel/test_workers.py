"""--workers and --ray: which workers a command gets, and what it says where Ray cannot be used."""

import argparse
import sys

import pytest

from data_prep.parallel.workers import LocalWorkers, add_worker_arguments, open_workers


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", nargs="?")
    add_worker_arguments(parser)
    return parser.parse_args(words)


def test_without_ray_tasks_run_in_processes_of_this_machine():
    with open_workers(parsed("--workers", "3")) as workers:
        assert workers == LocalWorkers(3)
    assert list(LocalWorkers(4).run_each(abs, [-1, -2], 30.0, count=1)) == [(-1, 1), (-2, 2)]


def test_a_single_worker_is_this_process_where_that_is_allowed():
    seen = []
    assert [result for _, result in LocalWorkers(1).run_each(seen.append, [1, 2], 30.0, inline=True)] == [None, None]
    assert seen == [1, 2]


@pytest.mark.parametrize(("words", "address"), [((), None), (("--ray",), "local"), (("--ray", "head:6379"), "head:6379")])
def test_addresses(words, address):
    assert parsed(*words).ray == address


@pytest.mark.parametrize(
    ("address", "advice"), [("videos", "must be the last argument"), ("ray://h:10001", "a node of the cluster")]
)
def test_an_address_that_is_none_is_refused_with_advice(address, advice, capsys):
    with pytest.raises(SystemExit):
        parsed("--ray", address)
    assert advice in capsys.readouterr().err


def test_a_missing_extra_is_one_line(tmp_path, monkeypatch, capsys):
    from data_prep.__main__ import main

    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["synthesize", str(tmp_path / "out"), "--train", "1", "--ray"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("data_prep synthesize: --ray: Ray is not installed; pip install")
