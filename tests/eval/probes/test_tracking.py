"""Tracking of occluded bodies: occlusions are found, errors are in widths, and baselines are right."""

import numpy as np
import pytest
import torch

from eval.probes import tracking
from eval.probes.aligned_truth import AlignedTruth
from eval.probes.constant_velocity import CONSTANT_VELOCITY
from eval.probes.dataset import MODEL, PIXELS, ProbeData
from eval.probes.fitting.cross_fitting import CrossFittedProbe
from eval.probes.latents import ClipLatents
from eval.probes.tracking import LAST_SEEN, OCCLUDER, OTHER_CLIPS, find_occlusions, track
from worldmodel.manifest import Clip

STEPS, HIDDEN = 12, slice(5, 9)


def occluded_clip(make_truth, tmp_path, number: int, step: float):
    """A body of 8 px that moves by `step` px per step (0.1 s), hidden at steps 5 to 8 by an occluder around x = 32."""
    centres = np.stack([20 + number / 2 + step * np.arange(STEPS), np.full(STEPS, 30.0)], axis=1)[:, None]
    visible = np.full((STEPS, 1), 50)
    visible[HIDDEN] = 0
    segmentation = np.zeros((STEPS, 64, 64), np.uint8)
    segmentation[:, 20:40, 28:36] = 255
    np.savez(tmp_path / f"{number}.npz", segmentation=segmentation)
    span, picture = (0.0, 1.2, 10.0, STEPS), (64, 64, 0, "h264")
    fields = (f"{number:016d}", "", None, *span, *picture, "val", None, str(tmp_path / f"{number}.npz"), "physics", "0")
    return make_truth(centres, visible_px=visible), Clip(*fields)


@pytest.fixture
def data(make_truth, tmp_path) -> ProbeData:
    made = [occluded_clip(make_truth, tmp_path, number, step=0.0 if number % 4 == 0 else 2.0) for number in range(12)]
    truths, clips = zip(*made, strict=True)
    return ProbeData(clips, STEPS, AlignedTruth(truths, [np.arange(STEPS)] * len(clips), 0.1, 3))


def test_an_occlusion_begins_when_no_pixel_shows(data):
    found = find_occlusions(data)
    assert [(entry.clip, entry.context, entry.steps) for entry in found] == [(number, 5, 4) for number in range(12)]
    assert [entry.moving for entry in found] == [number % 4 != 0 for number in range(12)]


def test_a_body_with_one_visible_pixel_is_not_occluded(make_truth, data):
    visible = data.truth.clips[0].visible_px.copy()
    visible[6] = 1
    truth = make_truth(data.truth.clips[0].centre_px, visible_px=visible)
    truth = AlignedTruth([truth, *data.truth.clips[1:]], data.truth.frames, 0.1, 3)
    found = find_occlusions(ProbeData(data.clips, STEPS, truth))[0]
    assert (found.context, found.steps) == (7, 2)


def perfect(data: ProbeData):
    """Replace videos and networks: the latents and forecasts of the model are the position of the body."""

    def collect_latents(label, nets, groups, frames, device):
        found = []
        for clips, forecast_steps in groups:
            chosen = [data.clips.index(clip) for clip in clips]
            position = data.truth.body_track()[0][chosen][:, :, None].astype(np.float32)
            model = ClipLatents(
                position,
                {context: position[:, context - 3 : context] for context in forecast_steps},
                {context: position[:, context : context + ahead] for context, ahead in forecast_steps.items()},
            )
            found.append({MODEL: model, PIXELS: ClipLatents(model.target, model.context, {})})
        return found

    return collect_latents


def test_errors_are_in_widths_and_bodies_at_rest_stand_apart(data, monkeypatch):
    monkeypatch.setattr(tracking, "collect_latents", perfect(data))
    probe = CrossFittedProbe([lambda latents: latents.reshape(len(latents), 2)] * 3)
    found = track(data, {}, {MODEL: probe, PIXELS: probe}, torch.device("cpu"))
    moving, resting = found["moving when last seen"], found["at rest when last seen"]
    assert moving["model: forecast"]["0.4"] == pytest.approx({"value": 0, "low": 0, "high": 0, "n": 9}, abs=1e-6)
    # last visible at step 4; after four steps of 2 px the body is one width of 8 px further
    assert [moving[LAST_SEEN][time]["value"] for time in ("0.1", "0.4")] == pytest.approx([0.25, 1.0])
    assert moving["model: copy last"]["0.4"]["value"] == pytest.approx(1.0)
    assert moving[CONSTANT_VELOCITY]["0.4"]["value"] == pytest.approx(0)
    assert resting[LAST_SEEN]["0.4"]["value"] == 0
    assert (resting[LAST_SEEN]["0.4"]["n"], found["all"][LAST_SEEN]["0.4"]["n"]) == (3, 12)
    # clip 1 at step 5 is at 30.5; the occluder's centre is 32, 30
    assert found["all"][OCCLUDER]["0.1"]["value"] == pytest.approx(
        np.mean([abs(20 + n / 2 + (0 if n % 4 == 0 else 10) - 32) for n in range(12)]) / 8
    )
    assert moving[OTHER_CLIPS]["0.1"]["value"] > 0


def test_the_mean_position_over_clips_by_hand():
    positions = np.array([[[1.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [np.nan, np.nan]]])
    assert tracking._mean_position(positions).tolist() == [[2.0, 0.0], [2.0, 0.0]]
    only_early = np.array([[[1.0, 0.0], [np.nan, np.nan]]])
    # no occlusion lasts so long: the mean over all steps
    assert tracking._mean_position(only_early).tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_without_an_occlusion_there_is_no_result(data, make_truth):
    visible_clips = [make_truth(own.centre_px) for own in data.truth.clips]
    truth = AlignedTruth(visible_clips, data.truth.frames, 0.1, 3)
    assert track(ProbeData(data.clips, STEPS, truth), {}, {}, torch.device("cpu")) is None
