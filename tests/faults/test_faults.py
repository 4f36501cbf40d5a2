"""A disk that fails at the n-th call of a command: its files are the old ones or the new ones, and the command can be repeated.

The shim (shim.c) is compiled here and loaded with LD_PRELOAD; server.py runs the commands (operations.py) with it, and
campaign.py checks what they leave.
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
    pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and /proc/self/fd are Linux's"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler (cc or gcc), which makes the failing file system"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("faults")
    shim, source = folder / "shim.so", Path(__file__).parents[1] / "support" / "faults" / "shim.c"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", shim, source, "-ldl"], check=True)
    (folder / "root").mkdir()
    with serving(shim, folder / "root") as running:
        yield running


def spread_over(calls: int, most: int, first: int) -> list[int]:
    """So many of the calls 1, 2, ..., evenly; all where there are no more. `first` shifts the choice."""
    if calls <= most:
        return list(range(1, calls + 1))
    return sorted({1 + (first + place * calls // most) % calls for place in range(most)})


def problems_of(server: Server, name: str, most: int) -> list[str]:
    campaign = Campaign(server, name)
    assert campaign.calls > 20
    return [
        problem
        for shift, mode in enumerate(MODES)
        for at in spread_over(campaign.calls, most, first=shift)
        for problem in campaign.trial(mode, at)
    ]


@pytest.mark.parametrize("name", LIGHT)
def test_a_failing_disk_leaves_the_old_state_or_the_new_one_and_the_command_can_be_repeated(server: Server, name: str):
    assert problems_of(server, name, most=2) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_disk_may_fail_at_any_call(server: Server, name: str, request: pytest.FixtureRequest):
    """At calls that are spread over the command; with `pytest --every-call tests/faults` at every call."""
    some = 3 if name in HEAVY else 10
    assert problems_of(server, name, most=sys.maxsize if request.config.getoption("every_call") else some) == []


def test_the_shim_fails_the_call_it_was_told_to(server: Server):
    """Else all the other tests would prove nothing."""
    campaign = Campaign(server, "save")
    ended = [server.run("save", server.root / "work", MODES[mode], 5) for mode in ("kill", "gone", "full")]
    assert [it.code for it in ended] == [-9, 2, 2]
    assert "Input/output error" in ended[1].said
    assert "No space left on device" in ended[2].said
    assert server.run("save", server.root / "work", MODES["kill"], 10 * campaign.calls).code == 0
