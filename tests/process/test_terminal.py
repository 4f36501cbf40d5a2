"""File names on a terminal: control characters are escaped."""

import os
import re
import subprocess
import sys

import pytest
from matplotlib.figure import Figure

from data_prep.__main__ import main as data_prep
from eval.report.plots import svg
from eval.voe.scores.tables import markdown_row
from worldmodel.process.terminal import escape_line, escape_lines
from worldmodel.render.style import save_figure
from worldmodel.video import VideoError

NAME = "a\x1b]0;title\x07\x1b[2J\x9b31m\u202egpm\u2066 $x$ `|` \r"
OBEYED = ("\x1b", "\x07", "\x9b", "\r", "\u202e", "\u2066")


def test_escape_lines_keeps_line_breaks_and_tabs_and_escape_line_does_not():
    assert escape_lines("a\tb\nc\x1b") == "a\tb\nc\\x1b"
    assert escape_line("a\tb\nc\u2028d\udcff") == "a\\tb\\nc\\u2028d\\udcff"
    for name in ("videos/ball 1.mp4", "Füße.mp4", "日本.mp4", "👨‍👩‍👧.mp4"):
        assert escape_line(name) == escape_lines(name) == name


def test_the_error_of_a_video_escapes_its_name():
    error = VideoError(NAME, "corrupt")
    assert error.path == NAME
    assert not any(entry in str(error) for entry in OBEYED)


@pytest.mark.skipif(sys.platform == "win32", reason="such names do not exist there")
def test_data_prep_commands_escape_file_names(tmp_path, numbered, make_video, capsys):
    videos = tmp_path / "videos"
    for number in range(2):
        make_video(videos / f"{number}.mp4", numbered(12)).rename(videos / f"{number}{NAME}.mp4")
    (videos / f"broken{NAME}.mp4").write_bytes(b"no video")
    (videos / f"other.{NAME}").write_bytes(b"")
    table = tmp_path / f"m{NAME}.parquet"
    data_prep(["inspect", *map(str, videos.iterdir())])
    assert data_prep(["index", str(videos), "--out", str(table), "--workers", "1"]) == 0
    assert data_prep(["transcode", str(table), "--out", str(tmp_path / f"out{NAME}"), "--workers", "1"]) == 0
    output = capsys.readouterr()
    assert "\\x1b]0;title" in output.out + output.err
    for entry in OBEYED:
        assert entry not in output.out + output.err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_not_utf8_does_not_end_a_command(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff\x1b.mp4"
    with open(path, "wb") as file:
        file.write(b"no video")
    command = [
        sys.executable,
        "-m",
        "data_prep",
        "index",
        str(tmp_path),
        "--out",
        str(tmp_path / "m.parquet"),
        "--workers",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"})
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stdout + done.stderr


def test_a_name_is_escaped_in_markdown():
    assert markdown_row(["a|b", "c\nd", "`e`", "<b>f</b>", "p < .01"]) == (
        "| a\\|b | c\\nd | \\`e\\` | &lt;b>f&lt;/b> | p < .01 |"
    )


def test_a_dollar_in_a_name_is_drawn_literally(tmp_path):
    name = "runs/$\\x$ and $"
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 10], [1, 1000], label=name)
    axes.set_yscale("log")
    axes.set_title(name)
    axes.legend()
    save_figure(figure, tmp_path / "a.png")
    drawn = svg(figure)
    assert drawn.count(name) >= 2
    assert "mathdefault" not in re.sub("<!--.*?-->", "", drawn)  # also numbers on a logarithmic axis
