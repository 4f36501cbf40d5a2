"""Commands on a cluster of several raylets give what the local pool gives, also when a node dies."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import launch
import psutil
import pytest

from data_prep.__main__ import main
from data_prep.parallel.cluster import open_cluster
from data_prep.pool import run_each
from tests.support.made_scenes import scene
from tests.support.troubled_tasks import kill_parent_once, misbehave
from worldmodel.video import write_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`"),
]


SECRET = "a-secret-of-the-environment"
SMALL = ["--size-px", "32", "--fps", "20"]
SMALL_QUADRUPLETS = ["--properties", "frozen", "--frames", "24", *SMALL]
TIMEOUT_S = 12.0  # the start of a process counts too


class Nodes:
    """A head without processors, and nodes of one processor each, all on this machine."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._nodes = [self._cluster.add_node(num_cpus=1, wait=False) for _ in range(count)]
        self._cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return self._cluster.address

    @property
    def logs(self) -> Path:
        return Path(self._cluster.head_node.get_logs_dir_path())

    def kill_one(self) -> None:
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def add_one(self) -> None:
        self._nodes.append(self._cluster.add_node(num_cpus=1))

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes(isolated_session: Path) -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else a token in a home folder, which each test has for itself
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        started = Nodes(3)
        yield started
        started.shutdown()


def files(folder: Path, leave_out: str = ".lock") -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != leave_out)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def children_of_actors(session: str) -> list[psutil.Process]:
    """Child processes that run tasks on nodes of the cluster."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(launch.MARK) == session and "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def test_crashes_and_hangs_are_told_as_by_the_local_pool(nodes):
    expected = list(run_each(misbehave, range(8), workers=2, timeout_s=TIMEOUT_S))
    assert [getattr(result, "reason", None) for _, result in expected[1:6]] == [*["crashed"] * 3, "hung", "error"]
    with open_cluster(nodes.address, None, [], None) as workers:
        assert list(workers.run_each(misbehave, range(8), timeout_s=TIMEOUT_S)) == expected
        assert list(workers.run_each(abs, range(-600, 0), timeout_s=60.0)) == [(number, -number) for number in range(-600, 0)]


def test_a_process_that_something_else_kills_costs_no_task_and_leaves_no_child(nodes, tmp_path, isolated_session):
    with open_cluster(nodes.address, 2, [], tmp_path) as workers:
        results = workers.run_each(partial(kill_parent_once, folder=str(tmp_path)), range(12), timeout_s=300.0)
        assert list(results) == [(number, number) for number in range(12)]
        abandoned = workers.run_each(time.sleep, [0, 300, 300], timeout_s=600.0)
        assert next(abandoned) == (0, None)
        abandoned.close()
        wait_until(lambda: not children_of_actors(isolated_session.name))


def wait_until(reached: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "not reached in time"
        time.sleep(0.1)


@contextlib.contextmanager
def node_killed_after(nodes: Nodes, reached: Callable[[], Any]) -> Iterator[None]:
    """While the block runs, kill a node as soon as `reached` is true; replace it afterwards."""

    def kill() -> None:
        wait_until(reached)
        nodes.kill_one()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        killer.join()
        nodes.add_one()


def has_lines(journal: Path, count: int = 4) -> bool:
    return journal.exists() and journal.read_bytes().count(b"\n") >= count


def test_a_node_that_is_killed_loses_nothing(nodes, tmp_path):
    command = ["--train", "24", "--frames", "16", "--size-px", "32"]
    assert main(["synthesize", str(tmp_path / "local" / "set"), *command, "--workers", "2"]) == 0
    out = tmp_path / "cluster" / "set"
    with node_killed_after(nodes, lambda: has_lines(out / ".making" / "train.0-of-1.jsonl")):
        assert main(["synthesize", str(out), *command, "--ray", nodes.address]) == 0
    assert files(out) == files(tmp_path / "local" / "set")


def scenes(folder: Path, count: int) -> Path:
    """A folder of `count` videos of 8 s with a moving square each, and without camera cuts."""
    folder.mkdir()
    for index in range(count):
        write_video(folder / f"{index:03d}.mp4", scene(80, seed=index), 10)
    return folder


def test_a_node_that_is_killed_loses_nothing_in_other_commands(nodes, tmp_path):
    videos, made = scenes(tmp_path / "videos", 40), tmp_path / "made"
    quads, index, small, shards, table = made / "quads", made / "m.parquet", made / "small", made / "shards", made / "c.parquet"
    commands = {  # and what there is when a part of the work is done
        "index": ([str(videos), "--out", str(index)], lambda: has_lines(made / "m.parquet.part.jsonl")),
        "transcode": ([str(index), "--out", str(small)], lambda: len(list(small.glob("*/*.json"))) > 3),
        "curate": ([str(index), "--out", str(table)], lambda: has_lines(made / "c.parquet.part.jsonl")),
        "quadruplets": (
            [str(index), "--out", str(quads), "--quadruplets", "12", *SMALL_QUADRUPLETS],
            lambda: any(map(has_lines, (quads / ".making").glob("*.jsonl"))),
        ),
        "shard": (
            [str(small / "manifest.parquet"), "--out", str(shards), "--shard-mb", "0.01"],
            lambda: any(shards.glob("*.tar")),
        ),
    }
    made.mkdir()
    for command, (arguments, _) in commands.items():
        assert main([command, *arguments, "--workers", "2"]) == 0
    local = files(made)
    made.rename(tmp_path / "local")
    made.mkdir()
    for command, (arguments, reached) in commands.items():
        with node_killed_after(nodes, reached):
            assert main([command, *arguments, "--ray", nodes.address]) == 0
    on_ray = files(made)
    assert on_ray.keys() == local.keys()
    assert [name for name in local if on_ray[name] != local[name]] == []


def test_every_command_gives_the_bytes_of_the_local_pool(nodes, tmp_path):
    videos = scenes(tmp_path / "videos", 6)
    (videos / "bad.mp4").write_bytes(b"no video")

    def prepare(folder: Path, *where: str) -> dict[str, bytes]:
        folder.mkdir()
        index, small = str(folder / "m.parquet"), folder / "small"
        assert main(["index", str(videos), "--out", index, *where]) == 0
        assert main(["transcode", index, "--out", str(small), *where]) == 0
        assert main(["shard", str(small / "manifest.parquet"), "--out", str(folder / "shards"), *where]) == 0
        assert main(["curate", index, "--out", str(folder / "c.parquet"), *where]) == 0
        command = ["quadruplets", index, "--out", str(folder / "quads"), "--quadruplets", "2", *SMALL_QUADRUPLETS]
        assert main([*command, *where]) == 0
        return files(folder)

    local, folder = prepare(tmp_path / "made", "--workers", "2"), tmp_path / "made"
    folder.rename(tmp_path / "local")
    on_ray = prepare(folder, "--ray", nodes.address, "--workers", "1")  # in a folder of the same name, since tables hold paths
    assert len(local) > 15
    assert on_ray.keys() == local.keys()
    assert [name for name in local if on_ray[name] != local[name]] == []


def test_an_address_without_a_cluster_is_one_line(tmp_path, capsys):
    assert main(["synthesize", str(tmp_path / "out"), "--train", "1", "--ray", "127.0.0.1:9"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("data_prep synthesize: --ray 127.0.0.1:9: no Ray answers at this address")


def test_a_folder_that_a_node_does_not_see_is_one_line(nodes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("data_prep.parallel.shared_state.write_text", lambda path, text: None)  # as if written elsewhere
    assert main(["synthesize", str(tmp_path / "out"), "--train", "1", "--ray", nodes.address]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"does not see {tmp_path / 'out'} as this machine does; the nodes of a cluster exchange files" in line


def test_an_embedded_ray_that_is_interrupted_leaves_no_process_and_resumes(tmp_path):
    size = ["--train", "30", "--frames", "16", "--size-px", "32"]
    assert main(["synthesize", str(tmp_path / "local" / "set"), *size, "--workers", "2"]) == 0
    out = tmp_path / "ray" / "set"
    journal = out / ".making" / "train.0-of-1.jsonl"
    command = [sys.executable, "-m", "data_prep", "synthesize", str(out), *size, "--ray", "--workers", "2"]
    environment = launch.marked()
    with open(tmp_path / "output", "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 3, 200.0)
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
            assert process.wait(60) == 130
            wait_until(lambda: not launch._with_mark(environment[launch.MARK]), 20.0)
        finally:
            launch.kill_marked(environment[launch.MARK])
    text = (tmp_path / "output").read_text()
    assert text.rstrip().endswith("data_prep synthesize: stopped; the same command resumes from here")
    assert not [word for word in ("ray", "Ray", "Traceback", "WARNING") if word in text], text
    before = journal.read_bytes().count(b"\n")
    assert 3 <= before < 30
    done = launch.run(command, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert not [word for word in ("Ray", "Traceback", "WARNING") if word in done.stderr + done.stdout]
    assert files(out) == files(tmp_path / "local" / "set")


def test_no_log_of_ray_holds_a_secret_of_the_environment(nodes):
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
    logs = [path for path in nodes.logs.rglob("*") if path.is_file()]
    assert len(logs) > 3
    assert [path for path in logs if SECRET.encode() in path.read_bytes()] == []
