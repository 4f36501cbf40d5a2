"""CPU time to convert a decoded frame to RGB at 224 px, in four ways, and how far their pixels differ.

    python -m benchmarks.conversion VIDEO.mp4 [VIDEO.mp4 ...] [--rounds 9] [--out FILE.json]

two passes:  colours at full size, then resized as packed RGB. These pixels are the reference.
ours:        two passes by way of other pixel formats, where that gives the same pixels (worldmodel/video/equal_paths.py)
one pass:    colours and size in one call of swscale. Other pixels: the mean difference in grey levels is printed.
planes:      by torch from the planes Y, U and V, as with data.pixel_format yuv420p. Its time on a GPU is another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from av import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from benchmarks.measure import Comparison, add_out, describe_machine, markdown_table, paired, write_results
from worldmodel.data.planar.convert import rgb_of_planes
from worldmodel.process.arguments import whole_number
from worldmodel.video.container.opening import open_video
from worldmodel.video.equal_paths import PLAIN, FrameKind, Reformatters, fastest_path
from worldmodel.video.planes import PlaneBuffer, planes_bytes
from worldmodel.video.resize import target_size

SHORT_SIDE_PX, FRAMES = 224, 8


def measure(video: Path, rounds: int) -> tuple[Comparison, dict[str, float]]:
    """Compare the ways on the first frames. Returns the comparison and the mean difference of pixels by name."""
    with open_video(video) as opened:
        frames = list(islice(opened.frames(), FRAMES))
    height, width = target_size(frames[0].height, frames[0].width, SHORT_SIDE_PX)
    path = fastest_path(FrameKind.of(frames[0]), height, width)
    plain, ours, single = Reformatters(), Reformatters(), VideoReformatter()

    def one_pass(frame: VideoFrame) -> VideoFrame:
        return single.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA, threads=1)

    def planes(frame: VideoFrame) -> VideoFrame:
        buffer = PlaneBuffer(1, None, out)
        buffer.put([0], frame)
        assert buffer.layout is not None, "these frames are not 8 bits 4:2:0"
        rgb = rgb_of_planes(torch.from_numpy(out)[None], buffer.layout, (height, width))
        return VideoFrame.from_numpy_buffer(rgb[0].numpy(), format="rgb24")

    out = np.zeros(planes_bytes(frames[0].height, frames[0].width), np.uint8)
    ways: dict[str, Callable[[VideoFrame], VideoFrame]] = {
        "two passes": lambda frame: plain.resized_rgb(frame, height, width, PLAIN),
        "ours": lambda frame: ours.resized_rgb(frame, height, width, path),
        "one pass": one_pass,
        "planes": planes,
    }
    images = {name: np.stack([way(frame).to_ndarray() for frame in frames]).astype(int) for name, way in ways.items()}
    differences = {name: float(np.abs(image - images["two passes"]).mean()) for name, image in images.items()}
    contenders = {name: lambda way=way: [way(frame) for frame in frames] for name, way in ways.items()}
    return paired(contenders, rounds), differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--rounds", type=whole_number(1), default=9, help="runs per video (default 9)")
    add_out(parser)
    args = parser.parse_args()
    machine = describe_machine(("av", "numpy"))
    results = {video.name: measure(video, args.rounds) for video in args.videos}
    rows = [
        [
            name,
            *(f"{1e3 * result.cpu_s(way) / FRAMES:.2f}" for way in result.samples),
            result.ratio("two passes", "ours"),
            " / ".join(f"{differences[way]:.2f}" for way in ("ours", "one pass", "planes")),
        ]
        for name, (result, differences) in results.items()
    ]
    headers = ["video", "two passes, CPU ms", "ours", "one pass", "planes", "two passes / ours"]
    headers.append("mean difference: ours / one pass / planes")
    print(f"{machine.line()}\n\n{markdown_table(headers, rows)}")
    found = {name: {**result.as_json("ours"), "differences": differences} for name, (result, differences) in results.items()}
    write_results(args.out, machine, {"videos": found})


if __name__ == "__main__":
    main()
