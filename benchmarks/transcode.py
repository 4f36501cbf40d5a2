"""CPU time of `data_prep transcode` for one video, beside the ffmpeg command line tool at like settings.

    python -m benchmarks.transcode VIDEO.mp4 [VIDEO.mp4 ...] [--rounds 5] [--out FILE.json]

Both write H.264 at a short side of 224 px with the same settings of x264, on one thread. They differ in this: ours checks the
times of the frames first, resizes them in RGB (the pixels that `read_frames` would give), and reads the copy to count its
frames. ffmpeg resizes in YUV and checks nothing. The encoders are of the versions that PyAV and ffmpeg bring.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measure import Comparison, add_out, describe_machine, markdown_table, paired, write_results
from data_prep.transcoding.encode import X264, TranscodeConfig, transcode_video
from worldmodel.process.arguments import whole_number
from worldmodel.video import inspect_video

SHORT_SIDE_PX, GOP = 224, 12


def ours(video: Path, target: Path) -> None:
    """Transcode as `python -m data_prep transcode` does for one video."""
    transcode_video(str(video), None, target, TranscodeConfig(SHORT_SIDE_PX, None, GOP))


def ffmpeg(video: Path, target: Path, portrait: bool) -> None:
    """Transcode with the command line tool: one thread, the same options of x264, every frame with its own time."""
    scale = f"scale={SHORT_SIDE_PX}:-2:flags=area" if portrait else f"scale=-2:{SHORT_SIDE_PX}:flags=area"
    codec = [word for name, value in X264.items() for word in (f"-{name}", value)]
    command = ["ffmpeg", "-y", "-v", "error", "-threads", "1", "-filter_threads", "1", "-i", str(video), "-map", "0:v:0"]
    command += ["-vf", scale, "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", "-c:v", "libx264", *codec]
    command += ["-g", str(GOP), "-threads", "1", "-movflags", "faststart", str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def measure(video: Path, rounds: int, folder: Path) -> tuple[Comparison, int]:
    """Compare both on a video. Returns the comparison and the number of frames."""
    info = inspect_video(video)
    contenders = {
        "ours": partial(ours, video, folder / "ours.mp4"),
        "ffmpeg": partial(ffmpeg, video, folder / "ffmpeg.mp4", info.height > info.width),
    }
    return paired(contenders, rounds), info.frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--rounds", type=whole_number(1), default=5, help="runs per video (default 5)")
    add_out(parser)
    args = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        raise SystemExit("the ffmpeg command line tool is not installed")
    machine = describe_machine(("av", "numpy"))
    with tempfile.TemporaryDirectory() as folder:
        results = {video.name: measure(video, args.rounds, Path(folder)) for video in args.videos}
    rows = [
        [name, *(f"{frames / result.cpu_s(who):.0f}" for who in ("ours", "ffmpeg")), result.ratio("ffmpeg", "ours")]
        for name, (result, frames) in results.items()
    ]
    headers = ["video", "ours, frames/s of CPU", "ffmpeg, frames/s of CPU", "ours / ffmpeg"]
    print(f"{machine.line()}\n\n{markdown_table(headers, rows)}")
    write_results(args.out, machine, {"videos": {name: result.as_json("ours") for name, (result, _) in results.items()}})


if __name__ == "__main__":
    main()
