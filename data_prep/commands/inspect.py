"""Print a table of the properties of videos, one line per file.

The exit code is 1 if a file cannot be used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from worldmodel.process.terminal import escape_line, print_escaped
from worldmodel.video import VideoError, VideoInfo, inspect_video
from worldmodel.video.frame_folder.frames import frames_of

COLUMNS = ("size px", "fps", "frames", "seconds", "codec", "rotation")
READ_FROM_START = (
    "its packets do not say when frames are shown, so each window is decoded from the start of the video, which is slow; "
    "copies made by `python -m data_prep transcode` are read fast"
)
HELP = "print the properties of videos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="video files or folders of frames")
    parser.add_argument("--thorough", action="store_true", help="decode every frame, to find damage anywhere in a file")


def run(args: argparse.Namespace) -> int:
    notes: list[str] = []
    table, problems = Table(Column("file", overflow="fold"), *COLUMNS), []
    for file in args.files:
        try:
            info = inspect_video(file, thorough=args.thorough)
            table.add_row(escape(escape_line(str(file))), *_cells(info))
            if info.timing != "packets":
                notes.append(f"{file}: {READ_FROM_START}")
            if file.is_dir() and (left_out := frames_of(file).left_out):
                notes.append(f"{file}: {left_out}")
        except VideoError as error:
            problems.append(error)
            table.add_row(escape(escape_line(str(file))), escape(error.reason), style="red")
    Console().print(table)
    for note in notes:
        print_escaped(note)
    for problem in problems:
        print_escaped(problem, file=sys.stderr)
    return 1 if problems else 0


def _cells(info: VideoInfo) -> list[str]:
    size, fps, seconds = f"{info.width}x{info.height}", f"{info.fps:.2f}", f"{info.duration_s:.2f}"
    return [size, fps, str(info.frames), seconds, info.codec, str(info.rotation)]
