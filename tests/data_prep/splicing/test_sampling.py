"""Stretches that are not used: cuts of a static camera, and contexts that look alike."""

import numpy as np
import pytest

from data_prep.curation.cuts import find_cuts, measure_changes
from data_prep.splicing import sampling
from data_prep.splicing.config import SplicingConfig
from data_prep.splicing.sampling import NoQuadrupletError, UnusableStretch, sample_quadruplet
from data_prep.splicing.splices import SPLICES
from tests.support.made_scenes import scene
from worldmodel.manifest import Clip

CONFIG = SplicingConfig(source="", size_px=32, test=1, validation=1, calibration=1, properties=("other_stretch",))
CLIP = Clip("id", "a.mp4", None, 0.0, 9.0, 10.0, 90, 32, 32, 0, "h264", "val", None, None, "test", "0" * 64)


def test_a_cut_between_two_pictures_of_a_static_camera_is_found():
    frames = np.repeat(scene(1), 24, axis=0)
    frames[12:, :14, :14] = np.minimum(frames[12:, :14, :14], 200) + 50
    assert not find_cuts(measure_changes(frames).score, CONFIG.cuts)
    with pytest.raises(UnusableStretch, match="camera cut"):
        sampling._check_stretch(frames, CONFIG)


def test_two_contexts_that_look_alike_are_not_used(monkeypatch):
    """Of a static camera that sees a movement at the end only, both contexts would show the same picture."""

    def still_before_the_last_frames(clip, start_s, first, stop, config, position):
        frames = scene(stop - first, seed=1)
        frames[:-4] = frames[-5]
        return frames

    monkeypatch.setattr(sampling, "_read", still_before_the_last_frames)
    monkeypatch.setattr(sampling, "MAX_ATTEMPTS", 5)
    for visibility in ("occluded", "visible"):
        with pytest.raises(NoQuadrupletError, match="the two contexts look alike"):
            sample_quadruplet([CLIP], SPLICES["other_stretch"], visibility, CONFIG, "key")
