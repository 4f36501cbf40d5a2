"""A property that cannot be made is given up after a few jobs, and the suite does not depend on the workers."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.commands import quadruplets
from data_prep.splicing import jobs
from data_prep.splicing.sampling import NoQuadrupletError
from tests.support.made_scenes import scene
from worldmodel.video import write_video

OPTIONS = ["--quadruplets", "6", "--properties", "frozen", "--size-px", "32", "--frames", "12", "--workers", "1"]


class EarlyWorkers:
    """Workers that run every task before the first result is seen, as many processes may."""

    def run_each(self, work, tasks, timeout_s, count=None, inline=False):
        tasks = list(tasks)
        yield from zip(tasks, [work(task) for task in tasks], strict=True)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "one.mp4", scene(300, seed=7), 10)
    return folder


@pytest.fixture
def tried(monkeypatch) -> Counter:
    """Occluded quadruplets 1 to 3 of the test cannot be made. Counts what was tried, by kind and visibility."""
    found, real = Counter(), jobs.sample_quadruplet

    def sample(clips, splice, visibility, config, *key):
        found[key[2], visibility] += 1
        if (key[2], visibility) == ("test", "occluded") and 1 <= key[-1] <= 3:
            raise NoQuadrupletError("nothing moves")
        return real(clips, splice, visibility, config, *key)

    monkeypatch.setattr(jobs, "sample_quadruplet", sample)
    return found


def make(videos: Path, out: Path) -> dict[str, bytes]:
    """The videos and the journal of a suite."""
    assert main(["quadruplets", str(videos), "--out", str(out), *OPTIONS]) == 0
    return {path.name: path.read_bytes() for path in out.rglob("*") if path.suffix in (".mp4", ".jsonl")}


def test_the_other_jobs_of_a_cell_are_not_tried_after_three_failures_in_a_row(videos, tmp_path, tried, capsys):
    make(videos, tmp_path / "out")
    assert tried == {("test", "occluded"): 4, ("test", "visible"): 6, ("val", "visible"): 1, ("calibration", "visible"): 3}
    assert "not tried, because 3 in a row could not be made" in capsys.readouterr().out


def test_workers_that_run_ahead_and_a_resumed_run_make_the_same_suite(videos, tmp_path, tried, monkeypatch):
    whole = make(videos, tmp_path / "whole")
    journal = tmp_path / "whole" / ".making" / "quadruplets.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:3]))  # one made, two not
    tried.clear()
    assert make(videos, tmp_path / "whole") == whole
    assert tried["test", "occluded"] == 1

    @contextmanager
    def open_workers(*args, **kwargs):
        yield EarlyWorkers()

    monkeypatch.setattr(quadruplets, "open_workers", open_workers)
    tried.clear()
    assert make(videos, tmp_path / "early") == whole
    assert tried["test", "occluded"] == 6
