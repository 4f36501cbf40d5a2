"""Two hosts on one machine: network namespaces with a virtual cable, and a cable from each to this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import launch
import pytest

TRAIN = Path(__file__).resolve().parents[2] / "worldmodel" / "train.py"
NO_HOSTS = "the two hosts are network namespaces, which need Linux, root, and `ip` of Debian's iproute2"


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Hosts:
    """Names of two network namespaces and of their network devices, which are the ends of the cable."""

    names: tuple[str, str]
    cards: tuple[str, str]

    def cable(self, state: str) -> None:
        ip("-n", self.names[0], "link", "set", self.cards[0], state)

    def connect_to_this_machine(self) -> tuple[str, str]:
        """Lay a cable from each host to this machine. Returns the addresses of this machine, as each host sees it."""
        addresses = []
        for number, name in enumerate(self.names):
            here, there = f"wm{os.getpid()}h{number}", f"wm{os.getpid()}t{number}"
            ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
            ip("addr", "add", f"10.214.{number}.1/24", "dev", here)
            ip("-n", name, "addr", "add", f"10.214.{number}.2/24", "dev", there)
            ip("link", "set", here, "up")
            ip("-n", name, "link", "set", there, "up")
            addresses.append(f"10.214.{number}.1")
        return addresses[0], addresses[1]

    def kill(self, number: int) -> None:
        """Kill every process of a host at once, as a loss of its power does."""
        for pid in ip("netns", "pids", self.names[number]).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip(NO_HOSTS)
    own = os.getpid()
    made = Hosts((f"wm{own}a", f"wm{own}b"), (f"wm{own}va", f"wm{own}vb"))
    try:
        for name in made.names:
            ip("netns", "add", name)
        a, b = made.names
        ip("link", "add", made.cards[0], "netns", a, "type", "veth", "peer", "name", made.cards[1], "netns", b)
        for number, (name, card) in enumerate(zip(made.names, made.cards, strict=True), start=1):
            ip("-n", name, "addr", "add", f"10.213.0.{number}/24", "dev", card)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", card, "up")
    except subprocess.CalledProcessError as error:
        remove(made)
        pytest.skip(f"{NO_HOSTS}; this system refuses: {error.stderr.strip()}")
    yield made
    remove(made)


def remove(hosts: Hosts) -> None:
    for name in hosts.names:  # their devices go with them, also the other ends of the cables
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)


def train_on_both(
    hosts: Hosts,
    arguments: Sequence[str | Path],
    environments: Sequence[Mapping[str, str]] = ({}, {}),
    second_after_s: float = 0,
    options: Sequence[str] = (),
) -> list[subprocess.Popen[str]]:
    """torchrun on each host, one rank each. options: further ones of torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1"]
    meet = ["--master_addr", "10.213.0.1", "--master_port", "29400"]
    found = []
    for number, (name, card) in enumerate(zip(hosts.names, hosts.cards, strict=True)):
        time.sleep(number * second_after_s)
        command = [*launcher, "--node_rank", str(number), *meet, *options, str(TRAIN), *map(str, arguments)]
        one_thread = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment = os.environ | one_thread | {"GLOO_SOCKET_IFNAME": card, **environments[number]}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        found.append(
            subprocess.Popen(["ip", "netns", "exec", name, *command], env=environment, start_new_session=True, **pipes)
        )
    return found


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended after a test, however it went."""
    found: list[subprocess.Popen[str]] = []
    yield found
    launch.kill_marked(os.environ[launch.MARK])
    for process in found:
        process.wait()
