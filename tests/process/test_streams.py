"""Broken or closed standard streams: the program continues, and its files are complete."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldmodel.process.streams import _dropping_stream
from worldmodel.video import write_video

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")

HEAD = "from worldmodel.process.streams import survive_broken_streams\nsurvive_broken_streams()\n"
LONG = "for n in range(3000): print('a line of some length', n)\n"


def broken() -> int:
    """The writing end of a pipe whose reader is closed."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def run(arguments: list[str], out: int | None = None, err: int | None = None, close: tuple[int, ...] = ()) -> int:
    """Exit code of Python with these streams, and with these descriptors closed."""

    def in_child() -> None:
        for number in close:
            os.close(number)

    streams = {"stdout": subprocess.DEVNULL if out is None else out, "stderr": subprocess.DEVNULL if err is None else err}
    try:
        return subprocess.run([sys.executable, *arguments], **streams, preexec_fn=in_child, timeout=120).returncode
    finally:
        for number in {out, err} - {None}:
            os.close(number)


def program(folder: Path, body: str) -> str:
    """A script that prints to both streams, works, and records that it reached its end."""
    path = folder / "program.py"
    path.write_text(f"import os, subprocess, sys, time\n{HEAD}{body}\nopen('end', 'w').write('whole')\n")
    return str(path)


@pytest.mark.parametrize("flags", [[], ["-u"]])
@pytest.mark.parametrize("body", [LONG, LONG.replace("n)", "n, flush=True)"), LONG.replace("n)", "n, file=sys.stderr)")])
def test_output_to_a_broken_pipe_is_dropped(tmp_path: Path, body: str, flags: list[str]):
    pipe = broken()
    assert run([*flags, program(tmp_path, body)], pipe, pipe) == 0
    assert Path("end").read_text() == "whole"


def test_output_before_the_reader_closes_the_pipe_is_complete(tmp_path: Path):
    with subprocess.Popen([sys.executable, program(tmp_path, LONG)], stdout=subprocess.PIPE, text=True) as process:
        taken = [process.stdout.readline() for _ in range(3)]
        process.stdout.close()
        assert process.wait(60) == 0
    assert taken == [f"a line of some length {n}\n" for n in range(3)]
    assert Path("end").read_text() == "whole"


def test_a_child_process_of_a_program_with_a_broken_pipe_works(tmp_path: Path):
    body = "print('x', flush=True)\nsubprocess.run(['sh', '-c', 'echo y && echo z'], check=True)\n"
    assert run([program(tmp_path, body)], broken()) == 0


def test_a_file_never_gets_the_descriptor_of_a_closed_stream(tmp_path: Path):
    body = "file = open('data', 'w')\nprint('words')\nprint('words', file=sys.stderr)\nos.system('echo more')\nfile.close()\n"
    assert run([program(tmp_path, body)], close=(0, 1, 2)) == 0
    assert Path("data").read_text() == ""
    assert Path("end").read_text() == "whole"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals here")
def test_a_closed_terminal_does_not_end_a_progress_bar(tmp_path: Path):
    body = (
        "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\nfrom data_prep.progress import bar\n"
        "with bar('works', 20) as b:\n"
        "    for n in range(20):\n        b.step()\n        time.sleep(0.05)\n        print(n, flush=True)\n"
    )
    master, slave = os.openpty()
    arguments = [sys.executable, program(tmp_path, body)]
    with subprocess.Popen(arguments, stdout=slave, stderr=slave, start_new_session=True) as process:
        os.close(slave)
        os.read(master, 1)
        os.close(master)
        assert process.wait(60) == 0
    assert Path("end").read_text() == "whole"


def test_a_non_blocking_pipe_loses_nothing(tmp_path: Path):
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with subprocess.Popen([sys.executable, program(tmp_path, LONG * 3)], stdout=writes) as process:
        os.close(writes)
        with open(reads) as lines:
            assert len(lines.readlines()) == 9000
        assert process.wait(60) == 0


def test_streams_without_a_descriptor_are_unchanged(monkeypatch: pytest.MonkeyPatch):
    text = io.StringIO()
    assert _dropping_stream(1, text) is text


@pytest.mark.parametrize(
    ("command", "result"),
    [
        (["index", "in", "--out", "m.parquet", "--workers", "1"], "m.parquet"),
        (["synthesize", "out", "--train", "2", "--workers", "1"], "out/train.parquet"),
        (["transcode", "m.parquet", "--out", "small", "--workers", "1"], "small/manifest.parquet"),
    ],
)
def test_data_prep_continues_without_a_reader(command: list[str], result: str):
    Path("in").mkdir()
    for number in range(3):
        frames = np.random.default_rng(number).integers(0, 256, (8, 32, 32, 3), np.uint8)
        write_video(Path("in") / f"{number}.mp4", frames, 8)
    if command[0] == "transcode":
        assert run(["-m", "data_prep", "index", "in", "--out", "m.parquet"]) == 0
    pipe = broken()
    assert run(["-m", "data_prep", *command], pipe, pipe) == 0
    assert Path(result).exists()
