"""PySceneDetect's detectors and those of `data_prep curate` on the same sequences, made from a folder of videos.

    pip install --no-deps scenedetect  # its package asks for opencv-python; the headless one is enough
    python -m benchmarks.scene_detectors DIR --sequences 25

Dissolves and fades through black of 0.4 to 2 s between shots of the folder, and hard cuts between two moments of its longest
shot. All detectors see the frames that `curate` examines (64 px, 12 a second), PySceneDetect as a video file with its default
thresholds. A change counts as found if a boundary lies in it or at most two frames beside it (of a hard cut: one frame).
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curation import BLEND_S, STRETCH_S, blended, read_shots, video_clips
from data_prep.curation.cuts import find_cuts, find_static_cuts, measure_changes
from data_prep.curation.recipe import CurationRecipe
from data_prep.curation.transitions import brightness_cells, find_transitions
from data_prep.sources import SOURCES, SkippedFiles
from worldmodel.process.arguments import whole_number
from worldmodel.video import write_video

Detector = Callable[[np.ndarray], list[int]]
Span = tuple[int, int]


def own_detector(recipe: CurationRecipe) -> Detector:
    """Boundaries that `curate` finds: cuts, and the first frames of transitions."""

    def detect(frames: np.ndarray) -> list[int]:
        changes = measure_changes(frames)
        spans = find_transitions(brightness_cells(frames), recipe.transitions, recipe.fps, recipe.stills.plain_std)
        cuts = {*find_cuts(changes.score, recipe.cuts), *find_static_cuts(changes.change, recipe.static_cuts)}
        inside = {cut for cut in cuts if any(start - 1 <= cut <= stop + 1 for start, stop in spans)}
        return sorted({*(cuts - inside), *(start for start, _ in spans)})

    return detect


def scenedetect_detector(new_detector: Callable[[], Any], folder: Path, fps: float) -> Detector:
    """Boundaries that a detector of PySceneDetect finds."""
    import scenedetect

    def detect(frames: np.ndarray) -> list[int]:
        write_video(folder / "sequence.mp4", frames, fps)
        manager = scenedetect.SceneManager()
        manager.add_detector(new_detector())
        manager.detect_scenes(scenedetect.open_video(str(folder / "sequence.mp4")))
        return [scene[0].frame_num for scene in manager.get_scene_list()[1:]]

    return detect


def sequences(
    shots: list[np.ndarray], recipe: CurationRecipe, rng: np.random.Generator
) -> list[tuple[str, np.ndarray, list[Span], int]]:
    """One sequence of each kind: name, frames, spans of the changes, tolerance in frames."""
    blend = round(rng.uniform(*BLEND_S) * recipe.fps)
    least = blend + round(STRETCH_S[0] * recipe.fps)
    before, after = (shots[int(index)][:least] for index in rng.choice(len(shots), 2, replace=False))
    black = np.zeros_like(before[: blend + 2])
    faded = np.concatenate([blended(before, black, blend), blended(black, after, blend)])
    longest, length = max(shots, key=len), round(2 * STRETCH_S[0] * recipe.fps)
    first, second = (longest[int(start) :][:length] for start in rng.integers(0, len(longest) - length, 2))
    return [
        ("dissolve", blended(before, after, blend), [(least - blend, least)], 2),
        ("fade through black", faded, [(least - blend, least + 4 + blend)], 2),
        ("cut, static camera", np.concatenate([first, second]), [(length, length)], 1),
    ]


def main() -> None:
    import scenedetect

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sequences", type=whole_number(1), default=25)
    args = parser.parse_args()
    recipe, rng = CurationRecipe(), np.random.default_rng(0)
    items = [item for item in SOURCES["folder"](args.folder.absolute(), SkippedFiles()) if item.problem is None]
    videos = [video for item in items if (video := video_clips(Path(item.path))) is not None]
    longest = round((BLEND_S[1] + STRETCH_S[0]) * recipe.fps)
    shots = [shot for video in videos for shot in read_shots(video, recipe, recipe.size_px) if len(shot) >= longest]
    counts: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(3, int))  # found, made, false
    with tempfile.TemporaryDirectory() as folder:
        peers = (scenedetect.ContentDetector, scenedetect.AdaptiveDetector, scenedetect.ThresholdDetector)
        detectors = {peer.__name__: scenedetect_detector(peer, Path(folder), recipe.fps) for peer in peers}
        detectors["curate"] = own_detector(recipe)
        for _ in range(args.sequences):
            for kind, frames, spans, tolerance in sequences(shots, recipe, rng):
                for name, detect in detectors.items():
                    found = detect(frames)
                    near = [[start - tolerance <= frame <= stop + tolerance for frame in found] for start, stop in spans]
                    false = sum(not any(of_span[index] for of_span in near) for index in range(len(found)))
                    counts[kind, name] += (sum(map(any, near)), len(spans), false)
    for (kind, name), (found, made, false) in counts.items():
        print(f"{kind}, {name}: {found} of {made} found, {false} false")


if __name__ == "__main__":
    main()
