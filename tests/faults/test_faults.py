"""A disk fails at the n-th call of a command: files have their old or new content, and the command can be repeated.

The shim (shim.c) is compiled here and loaded with LD_PRELOAD. server.py runs the commands
(operations.py) with it, and campaign.py checks the files afterwards.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.campaign import MODES, Campaign, Server, serving

LIGHT = ("save", "decoder", "index", "transcode")
HEAVY = ("train", "resume", "score")
ALL = (*LIGHT, "decoder_again", "index_again", *HEAVY)
COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and /proc/self/fd exist on Linux only"),
    pytest.mark.skipif(COMPILER is None, reason="a C compiler (cc or gcc) is needed for the failing file system"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("faults")
    shim, source = folder / "shim.so", Path(__file__).parents[1] / "support" / "faults" / "shim.c"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", shim, source, "-ldl"], check=True)
    (folder / "root").mkdir()
    with serving(shim, folder / "root") as running:
        yield running


def evenly_spaced(calls: int, most: int, first: int) -> list[int]:
    """At most `most` of the calls 1, 2, ..., evenly spaced. `first` shifts the selection."""
    if calls <= most:
        return list(range(1, calls + 1))
    return sorted({1 + (first + index * calls // most) % calls for index in range(most)})


def problems_of(server: Server, name: str, most: int) -> list[str]:
    campaign = Campaign(server, name)
    assert campaign.calls > 20
    return [
        problem
        for shift, mode in enumerate(MODES)
        for at in evenly_spaced(campaign.calls, most, first=shift)
        for problem in campaign.trial(mode, at)
    ]


@pytest.mark.parametrize("name", LIGHT)
def test_a_failing_disk_leaves_the_old_or_the_new_state_and_the_command_can_be_repeated(server: Server, name: str):
    assert problems_of(server, name, most=2) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_disk_may_fail_at_any_call(server: Server, name: str, request: pytest.FixtureRequest):
    """Tries evenly spaced calls of the command; with `pytest --every-call tests/faults`, every call."""
    most = 3 if name in HEAVY else 10
    assert problems_of(server, name, most=sys.maxsize if request.config.getoption("every_call") else most) == []


def test_the_shim_fails_at_the_requested_call(server: Server):
    """Otherwise the other tests would prove nothing."""
    campaign = Campaign(server, "save")
    ended = [server.run("save", server.root / "work", MODES[mode], 5) for mode in ("kill", "gone", "full")]
    assert [entry.code for entry in ended] == [-9, 2, 2]
    assert "Input/output error" in ended[1].output
    assert "No space left on device" in ended[2].output
    assert server.run("save", server.root / "work", MODES["kill"], 10 * campaign.calls).code == 0
