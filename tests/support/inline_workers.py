"""A fixture that runs the tasks of `data_prep` in the process of the test, since starting others takes long."""

import pytest

from data_prep.parallel.workers import LocalWorkers


@pytest.fixture
def in_this_process(monkeypatch):
    def run_each(self, work, tasks, timeout_s, count=None, inline=False):
        return ((task, work(task)) for task in tasks)

    monkeypatch.setattr(LocalWorkers, "run_each", run_each)
