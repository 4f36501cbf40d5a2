"""How frames are made square is chosen, said, and never mixed in a cache."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.plausibility.batches import Stretch, read_stretch
from eval.report import write_report
from eval.report.videos import film_bytes
from eval.reward import as_seen
from eval.subject import Subject
from eval.voe.suites import Suite
from eval.voe.surprise.task import Task
from eval.voe.surprise.windows import WindowPlan
from eval.voe.trials import Film, Trial, read_film
from worldmodel.manifest import Clip
from worldmodel.video import read_frames, write_video


@pytest.fixture
def wide(tmp_path) -> Film:
    """Twice as wide as high; the left and right quarters are white, the middle is black."""
    frames = np.zeros((12, 32, 64, 3), np.uint8)
    frames[:, :, :16] = frames[:, :, 48:] = 255
    write_video(tmp_path / "wide.mp4", frames, 12.0, lossless=True)
    return Film("wide", str(tmp_path / "wide.mp4"), 12.0, 12, True)


def task(film: Film) -> Task:
    suite = Suite("one", Path("."), (Trial("a", (film,), (), "none"),), "")
    return Task(Subject("blind:x", "x", None, None), suite, WindowPlan(12.0, 8, 2, (4,), 2, 1, 4), "window", 16, None, None)


def test_a_trial_is_seen_whole_unless_the_centre_is_asked_for(wide):
    squeezed, cropped = read_film(wide, 12.0, 16), read_film(wide, 12.0, 16, "crop")
    assert squeezed.shape == cropped.shape == (12, 16, 16, 3)
    np.testing.assert_array_equal(squeezed[:, :, [0, 3, 12, 15]], 255)
    np.testing.assert_array_equal(cropped[:, :, 1:15], 0)


def test_an_evaluation_reads_films_by_its_choice_and_each_has_a_key_of_its_own(wide):
    squeeze = task(wide)
    crop = replace(squeeze, square="crop")
    assert squeeze.square == "squeeze"
    assert crop.key([]) != squeeze.key([]) == task(wide).key([])
    for it, white in ((squeeze, 4 / 12), (crop, 0.0)):  # of columns 2 to 13
        ((shot,),) = it._load(it.suite.trials).groups
        assert np.asarray(shot.frames)[..., 2:14, :].mean() / 255 == pytest.approx(white, abs=0.02)


def test_a_stretch_of_a_clip_is_read_by_the_choice(wide):
    size = {"width": 64, "height": 32, "rotation": 0, "codec": "h264", "split": "val", "label": None, "truth": None}
    clip = Clip("a", wide.path, None, 0.0, 1.0, 12.0, 12, **size, source="", content_hash="")
    squeezed, cropped = (read_stretch(Stretch(clip, 0, 2), 12.0, 16, how) for how in ("squeeze", "crop"))
    assert (squeezed[:, :, 0] == 255).all()
    assert (cropped[:, :, 2] == 0).all()


def test_tensors_are_squeezed_or_cropped(wide):
    frames = torch.from_numpy(read_frames(wide.path, indices=range(12)))[None]
    squeezed, cropped = as_seen(frames, 12.0, 12.0, 16), as_seen(frames, 12.0, 12.0, 16, "crop")
    assert squeezed.shape == cropped.shape == (1, 12, 16, 16, 3)
    assert (squeezed[..., :4, :] == 255).all()
    assert (cropped == 0).all()


def test_a_page_shows_what_the_model_saw_so_that_maps_lie_over_it(wide, tmp_path):
    for how, shape in (("squeeze", (32, 64)), ("crop", (32, 32))):
        (tmp_path / "page.mp4").write_bytes(film_bytes(wide, how))
        assert read_frames(tmp_path / "page.mp4", indices=[0]).shape[1:3] == shape


@pytest.mark.parametrize(("square", "said"), [(None, "squeezed into a square"), ("crop", "the central square of each frame")])
def test_the_report_says_what_the_model_saw(evaluation, tmp_path, square, said):
    for path in evaluation.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    protocol = json.loads((evaluation / "protocol.json").read_text())
    protocol = {key: value for key, value in protocol.items() if key != "square"} | ({"square": square} if square else {})
    (tmp_path / "protocol.json").write_text(json.dumps(protocol))
    assert said in write_report(tmp_path).read_text()
