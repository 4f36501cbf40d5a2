"""CPU time to read a clip from a video file, beside other libraries and beside the decoder alone.

    python -m benchmarks.loader VIDEO.mp4 [VIDEO.mp4 ...] [--copies-of VIDEO] [--rounds 9] [--out FILE.json]

A clip is 16 frames, four frames apart, at a random position, short side 224 px. The videos are real ones of at least 61
frames. Copies of one video at three sizes, and a transcoded copy of the last one, are made in a temporary folder. The other
libraries are measured if they are installed: `pip install worldmodel[bench]`. All contenders read the same clip in a round.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import av
from av.video.reformatter import VideoReformatter

from benchmarks.loader_contenders import Read, Source, contenders_of
from benchmarks.measure import Comparison, add_out, describe_machine, markdown_table, paired, write_results
from data_prep.transcoding.encode import TranscodeConfig, transcode_video
from worldmodel.process.arguments import whole_number
from worldmodel.video import inspect_video
from worldmodel.video.container.opening import open_video
from worldmodel.video.packet_index.build import Refusal, packet_table
from worldmodel.video.packet_index.index_file import write_packet_index
from worldmodel.video.resize import target_size

FRAMES, STEP, SHORT_SIDE_PX = 16, 4, 224
SIZES = {"340x256": (340, 256), "768x576": (768, 576), "1080p": (1920, 1080)}  # width, height
COPY_FRAMES = 300  # of a copy; a shorter video is played forwards and backwards until it is as long
PACKAGES = ("av", "decord", "opencv-python-headless", "torchcodec", "torch", "numpy")
FLOOR, OURS = "decode only", "ours"


def make_copy(source: Path, target: Path, width: int, height: int) -> None:
    """Encode a video at another size: H.264, preset fast, 30 frames/s, a keyframe every 250 frames."""
    with open_video(source) as video, av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30), options={"preset": "fast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = 250, 1
        frames, scale = list(islice(video.frames(), COPY_FRAMES)), VideoReformatter()
        for number, frame in enumerate(islice(_forwards_and_backwards(frames), COPY_FRAMES)):
            scaled = scale.reformat(frame, width, height, "yuv420p", threads=1)
            scaled.pts, scaled.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(scaled))
        out.mux(stream.encode(None))


def _forwards_and_backwards(frames: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    while True:
        yield from frames
        yield from frames[-2:0:-1]


def made_videos(source: Path, last: Path, folder: Path) -> dict[str, Path]:
    """Copies of `source` at three sizes and a transcoded copy of `last`, by name."""
    made = {f"{name}, copy": folder / f"{name}.mp4" for name in SIZES}
    for path, (width, height) in zip(made.values(), SIZES.values(), strict=True):
        make_copy(source, path, width, height)
    transcoded = folder / "transcoded.mp4"
    transcode_video(str(last), None, transcoded, TranscodeConfig(SHORT_SIDE_PX, None, 12))
    return {**made, "transcoded to 224 px": transcoded}


def make_index(path: Path, folder: Path) -> str | None:
    """Write a packet index of one video. None if its packets cannot be read directly."""
    table, target = packet_table(path), folder / f"{path.name}.packets"
    if isinstance(table, Refusal):
        return None
    with write_packet_index(target) as index:
        index.add(str(path), None, table)
    return str(target)


def measure(path: Path, rounds: int, folder: Path) -> Comparison:
    """Compare all contenders on random clips of a video."""
    info = inspect_video(path)
    size = target_size(info.height, info.width, SHORT_SIDE_PX)
    source = Source(path, info, *size, packet_index=make_index(path, folder))
    span_frames = (FRAMES - 1) * STEP + 1
    if info.frames < span_frames or info.timing != "packets":
        raise SystemExit(f"{path}: expected at least {span_frames} frames whose packets have their times")
    rng = random.Random(0)
    starts = [rng.randrange(info.frames - span_frames + 1) for _ in range(rounds + 1)]
    clips = [[(start + STEP * k + 0.25) / info.fps for k in range(FRAMES)] for start in starts]
    contenders = {name: partial(_read_next, read, iter(clips)) for name, read in contenders_of(source).items()}
    return paired(contenders, rounds)


def _read_next(read: Read, clips: Iterator[Sequence[float]]) -> None:
    read(next(clips))


def table(results: dict[str, Comparison]) -> str:
    """CPU ms of ours and of the floor, and the CPU times of all others divided by ours."""
    names = [name for name in next(iter(results.values())).samples if name not in (FLOOR, OURS)]
    rows = [
        [
            video,
            f"{1e3 * result.cpu_s(OURS):.1f}",
            *(f"{result.ratio(name, OURS).median:.2f}" for name in names),
            f"{1e3 * result.cpu_s(FLOOR):.1f}",
            result.ratio(OURS, FLOOR),
        ]
        for video, result in results.items()
    ]
    headers = ["video", "ours, CPU ms", *(f"{name}, x" for name in names), "decode only, CPU ms", "ours / decode only"]
    return markdown_table(headers, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO", help="real videos of constant frame rate")
    parser.add_argument(
        "--copies-of", type=Path, metavar="VIDEO", help="video to encode at three sizes (default: the last one)"
    )
    parser.add_argument("--rounds", type=whole_number(1), default=9, help="clips per video (default 9)")
    add_out(parser)
    args = parser.parse_args()
    machine = describe_machine(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        videos = {path.name: path for path in args.videos} | made_videos(
            args.copies_of or args.videos[-1], args.videos[-1], Path(folder)
        )
        results = {name: measure(path.absolute(), args.rounds, Path(folder)) for name, path in videos.items()}
    print(f"{machine.line()}\n\n{table(results)}")
    write_results(args.out, machine, {"videos": {name: result.as_json(OURS) for name, result in results.items()}})


if __name__ == "__main__":
    main()
