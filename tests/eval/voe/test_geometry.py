"""The spatial geometry is chosen by suite or flag, recorded, shown, and part of every cache key."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.plausibility.batches import Segment, read_segment
from eval.report import write_report
from eval.report.videos import trial_video_mp4
from eval.reward import model_frames
from eval.subject import Subject
from eval.voe.suites import Suite
from eval.voe.surprise.task import VoeTask
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Trial, Video, read_video
from worldmodel.manifest import Clip
from worldmodel.video import read_frames, write_video
from worldmodel.video.geometry import square_pictures


@pytest.fixture
def wide(tmp_path) -> Video:
    """Twice as wide as high; the left and right quarters are white, the middle is black."""
    frames = np.zeros((12, 32, 64, 3), np.uint8)
    frames[:, :, :16] = frames[:, :, 48:] = 255
    write_video(tmp_path / "wide.mp4", frames, 12.0, lossless=True)
    return Video("wide", str(tmp_path / "wide.mp4"), 12.0, 12, True)


def task(video: Video) -> VoeTask:
    suite = Suite("one", Path("."), (Trial("a", (video,), (), "none"),), "")
    return VoeTask(
        Subject("baseline:x", "x", None, None), suite, WindowPlan(12.0, 8, 2, (4,), 2, 1, 4), "window", 16, None, None
    )


def test_a_trial_is_read_as_in_training_unless_the_whole_frame_is_requested(wide):
    cropped, resized = read_video(wide, 12.0, 16), read_video(wide, 12.0, 16, "resize")
    assert resized.shape == cropped.shape == (12, 16, 16, 3)
    np.testing.assert_array_equal(resized[:, :, [0, 3, 12, 15]], 255)
    np.testing.assert_array_equal(cropped[:, :, 1:15], 0)


def test_the_key_of_an_evaluation_depends_on_the_geometry(wide):
    crop = task(wide)
    resize = replace(crop, geometry="resize")
    assert crop.geometry == "center_crop"
    assert resize.key([]) != crop.key([]) == task(wide).key([])
    for geometry_task, white in ((resize, 4 / 12), (crop, 0.0)):  # of columns 2 to 13
        ((windowed,),) = geometry_task.read(geometry_task.suite.trials).groups
        assert np.asarray(windowed.frames)[..., 2:14, :].mean() / 255 == pytest.approx(white, abs=0.02)


def test_a_part_of_a_clip_is_read_with_the_given_geometry(wide):
    size = {"width": 64, "height": 32, "rotation": 0, "codec": "h264", "split": "val", "label": None, "truth": None}
    clip = Clip("a", wide.path, None, 0.0, 1.0, 12.0, 12, **size, source="", content_hash="")
    resized, cropped = (read_segment(Segment(clip, 0, 2), 12.0, 16, how) for how in ("resize", "center_crop"))
    assert (resized[:, :, 0] == 255).all()
    assert (cropped[:, :, 2] == 0).all()


def test_tensors_are_cropped_or_resized(wide):
    frames = torch.from_numpy(read_frames(wide.path, indices=range(12)))[None]
    cropped, resized = model_frames(frames, 12.0, 12.0, 16), model_frames(frames, 12.0, 12.0, 16, "resize")
    assert resized.shape == cropped.shape == (1, 12, 16, 16, 3)
    assert (resized[..., :4, :] == 255).all()
    assert (cropped == 0).all()


@pytest.mark.parametrize(("height", "width"), [(100, 143), (70, 64), (24, 31)])
def test_tensors_are_resized_as_videos_are(height, width):
    """Also where the ratio is not whole: averages over whole pixels differ by 80 levels and more here."""
    frames = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    found = model_frames(torch.from_numpy(frames)[None], 12.0, 12.0, 48)[0].numpy()
    assert np.abs(found.astype(int) - square_pictures(frames, 48)).max() <= 1


def test_a_page_shows_frames_in_the_geometry_of_the_model_so_that_maps_fit(wide, tmp_path):
    for geometry, shape in (("resize", (32, 64)), ("center_crop", (32, 32))):
        (tmp_path / "page.mp4").write_bytes(trial_video_mp4(wide, geometry))
        assert read_frames(tmp_path / "page.mp4", indices=[0]).shape[1:3] == shape


@pytest.mark.parametrize(
    ("geometry", "caption"),
    [("resize", "the whole frame, resized to a square"), ("center_crop", "the centre square of each frame")],
)
def test_the_report_says_which_geometry_was_used(evaluation, tmp_path, geometry, caption):
    for path in evaluation.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    protocol = json.loads((evaluation / "protocol.json").read_text())
    (tmp_path / "protocol.json").write_text(json.dumps({**protocol, "geometry": geometry}))
    assert caption in write_report(tmp_path).read_text()
