"""Probe targets worked by hand on ground truths of a few frames."""

import numpy as np
import pytest

from eval.errors import EvalError
from eval.probes.ground_truth import read_ground_truth
from eval.probes.targets import PROBE_TARGETS
from worldmodel.manifest import Clip


def line(frames: int, start=(10.0, 30.0), step=(2.0, 0.0)) -> np.ndarray:
    """[T, 1, 2]: a straight line at constant velocity."""
    return (np.array(start) + np.arange(frames)[:, None] * np.array(step))[:, None]


def compute(name: str, truth) -> np.ndarray:
    return PROBE_TARGETS[name].compute(truth)


def test_a_moving_body_by_hand(make_truth):
    truth = make_truth(line(5))
    assert compute("position", truth)[3].tolist() == [16.0, 30.0]
    assert compute("velocity", truth)[1:].tolist() == [[20.0, 0.0]] * 4  # 2 px a frame, 10 frames a second
    assert np.isnan(compute("velocity", truth)[0]).all()  # there is no previous frame
    assert compute("acceleration", truth)[2:].tolist() == [[0.0, 0.0]] * 3
    assert compute("size", truth).tolist() == [[8.0]] * 5
    assert compute("colour", truth)[0] == pytest.approx([0.0, 1.0])  # red: angle 0


def test_gravity_is_an_acceleration(make_truth):
    fall = np.stack([np.full(6, 30.0), 5 + 0.5 * np.arange(6.0) ** 2], axis=1)[:, None]
    assert compute("acceleration", make_truth(fall))[2:] == pytest.approx(np.tile([0.0, 100.0], (4, 1)))  # 1 px a frame^2


def test_hues_on_both_sides_of_red_are_near_each_other(make_truth):
    near = [compute("colour", make_truth(line(1), colour_rgb=np.array([rgb])))[0] for rgb in ((1, 0, 0.05), (1, 0.05, 0))]
    assert np.linalg.norm(near[0] - near[1]) < 0.2


def test_a_hidden_body_has_no_position(make_truth):
    visible = np.array([[50], [24], [25], [0], [50]])
    x = compute("position", make_truth(line(5), visible_px=visible))[:, 0]
    assert np.isnan(x).tolist() == [False, True, False, True, False]  # 24 of 50 is less than half


def test_a_body_outside_the_picture_is_not_occluded(make_truth):
    truth = make_truth(line(4, start=(62.0, 30.0)), visible_px=np.zeros((4, 1)))
    assert truth.occluded[:, 0].tolist() == [True, False, False, False]  # its centre leaves the picture at 64 px


def test_several_bodies_have_a_count_only(make_truth):
    truth = make_truth(np.concatenate([line(4), line(4, start=(10, 50))], axis=1))
    assert np.isnan(compute("position", truth)).all()
    assert compute("count", truth)[:, 0].tolist() == [2, 2, 2, 2]


def test_fixed_objects_do_not_count(make_truth):
    truth = make_truth(np.concatenate([line(4), line(4, step=(0, 0))], axis=1), fixed=np.array([False, True]))
    assert compute("count", truth)[:, 0].tolist() == [1, 1, 1, 1]
    assert compute("position", truth)[3, 0] == 16.0


def test_a_body_that_is_gone_has_no_position_and_does_not_count(make_truth):
    vanishing = line(4)
    vanishing[2:] = np.nan
    truth = make_truth(vanishing)
    assert compute("count", truth)[:, 0].tolist() == [1, 1, 0, 0]
    assert np.isfinite(compute("position", truth)[:, 0]).tolist() == [True, True, False, False]


def test_contact_by_hand(make_truth):
    """The body touches the wall at frame 7 of 14, at 10 fps. "Soon" is within 5 frames, the time is defined within 10."""
    centres = np.concatenate([line(14), line(14, step=(0, 0))], axis=1)
    contact = np.zeros((14, 2, 2), bool)
    contact[7, 0, 1] = contact[7, 1, 0] = True
    truth = make_truth(centres, fixed=np.array([False, True]), contact=contact)
    soon = compute("contact soon", truth)[:, 0]
    assert soon[:7].tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert np.isnan(soon[7])  # undefined while it touches
    assert soon[8] == 0
    assert np.isnan(soon[9:]).all()  # the clip ends before 0.5 s have passed
    time = compute("time to contact", truth)[:, 0]
    assert time[:7] == pytest.approx(np.arange(7, 0, -1) / 10)
    assert np.isnan(time[7:]).all()


def test_depth_order_by_hand(make_truth):
    centres = np.concatenate([line(3, start=(10, 30), step=(12, 0)), line(3, start=(30, 30), step=(0, 0))], axis=1)
    depth = np.zeros((3, 2, 3))
    depth[:, 1, 1] = 1.0  # the second is a metre farther away
    truth = make_truth(centres, position_m=depth)
    # the first is left of the second, then right of it
    assert compute("depth order", truth)[[0, 2], 0].tolist() == [1.0, 0.0]
    depth[:, 1, 1] = 0.1
    assert np.isnan(compute("depth order", make_truth(centres, position_m=depth))).all()


def clip(**changed) -> Clip:
    fields = (
        *("0" * 16, "clip.mp4", None, 0.0, 2.0, 12.0, 24, 64, 64, 0, "h264"),
        *("val", None, None, "physics", "0" * 64, None, None, None, None),
    )
    return Clip(**{**dict(zip(Clip.__dataclass_fields__, fields, strict=True)), **changed})


def test_a_clip_without_ground_truth_is_an_error(tmp_path):
    with pytest.raises(EvalError, match=r"clip\.mp4: the manifest lists no ground truth"):
        read_ground_truth(clip())
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(EvalError, match="has no fixed, shape"):
        read_ground_truth(clip(truth=str(tmp_path / "other.npz")))


def test_a_ground_truth_file_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "evil.npz", **{name: np.array([object()]) for name in ("fixed", "shape", "colour_rgb", "present")})
    with pytest.raises(EvalError):
        read_ground_truth(clip(truth=str(tmp_path / "evil.npz")))
    arrays = ("fixed", "shape", "colour_rgb", "present", "position_m", "centre_px", "width_px", "visible_px", "unoccluded_px")
    np.savez(tmp_path / "evil.npz", **{name: np.array([object()]) for name in (*arrays, "contact")})
    with pytest.raises(EvalError, match="cannot be read"):
        read_ground_truth(clip(truth=str(tmp_path / "evil.npz")))
