"""What is read, worked by hand on truths of a few frames."""

import numpy as np
import pytest

from eval.errors import EvalError
from eval.probes.ground_truth import read_truth
from eval.probes.targets import PROPERTIES
from worldmodel.manifest import Clip


def line(frames: int, start=(10.0, 30.0), step=(2.0, 0.0)) -> np.ndarray:
    """[T, 1, 2]: on in a straight line."""
    return (np.array(start) + np.arange(frames)[:, None] * np.array(step))[:, None]


def read(name: str, truth) -> np.ndarray:
    return PROPERTIES[name].read(truth)


def test_a_body_on_its_way_by_hand(make_truth):
    truth = make_truth(line(5))
    assert read("position", truth)[3].tolist() == [16.0, 30.0]
    assert read("velocity", truth)[1:].tolist() == [[20.0, 0.0]] * 4  # 2 px a frame, 10 frames a second
    assert np.isnan(read("velocity", truth)[0]).all()  # nothing was before
    assert read("acceleration", truth)[2:].tolist() == [[0.0, 0.0]] * 3
    assert read("size", truth).tolist() == [[8.0]] * 5
    assert read("colour", truth)[0] == pytest.approx([0.0, 1.0])  # red: angle 0


def test_gravity_is_an_acceleration(make_truth):
    fall = np.stack([np.full(6, 30.0), 5 + 0.5 * np.arange(6.0) ** 2], axis=1)[:, None]
    assert read("acceleration", make_truth(fall))[2:] == pytest.approx(np.tile([0.0, 100.0], (4, 1)))  # 1 px a frame^2


def test_hues_next_to_red_lie_next_to_each_other(make_truth):
    near = [read("colour", make_truth(line(1), colour_rgb=np.array([rgb])))[0] for rgb in ((1, 0, 0.05), (1, 0.05, 0))]
    assert np.linalg.norm(near[0] - near[1]) < 0.2


def test_what_does_not_show_is_not_read(make_truth):
    visible = np.array([[50], [24], [25], [0], [50]])
    read_x = read("position", make_truth(line(5), visible_px=visible))[:, 0]
    assert np.isnan(read_x).tolist() == [False, True, False, True, False]  # 24 of 50 is less than half


def test_outside_the_picture_is_not_hidden(make_truth):
    truth = make_truth(line(4, start=(62.0, 30.0)), visible_px=np.zeros((4, 1)))
    assert truth.hidden[:, 0].tolist() == [True, False, False, False]  # its middle leaves at 64 px


def test_of_several_bodies_only_their_number_is_read(make_truth):
    truth = make_truth(np.concatenate([line(4), line(4, start=(10, 50))], axis=1))
    assert np.isnan(read("position", truth)).all()
    assert read("count", truth)[:, 0].tolist() == [2, 2, 2, 2]


def test_furniture_neither_counts_nor_confuses(make_truth):
    truth = make_truth(np.concatenate([line(4), line(4, step=(0, 0))], axis=1), fixed=np.array([False, True]))
    assert read("count", truth)[:, 0].tolist() == [1, 1, 1, 1]
    assert read("position", truth)[3, 0] == 16.0


def test_a_body_that_is_gone_has_no_place_and_does_not_count(make_truth):
    vanishing = line(4)
    vanishing[2:] = np.nan
    truth = make_truth(vanishing)
    assert read("count", truth)[:, 0].tolist() == [1, 1, 0, 0]
    assert np.isfinite(read("position", truth)[:, 0]).tolist() == [True, True, False, False]


def test_contact_by_hand(make_truth):
    """It touches the wall at frame 7 of 14, at 10 fps: soon is within 5 frames, the time is known within 10."""
    centres = np.concatenate([line(14), line(14, step=(0, 0))], axis=1)
    contact = np.zeros((14, 2, 2), bool)
    contact[7, 0, 1] = contact[7, 1, 0] = True
    truth = make_truth(centres, fixed=np.array([False, True]), contact=contact)
    soon = read("contact soon", truth)[:, 0]
    assert soon[:7].tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert np.isnan(soon[7])  # it is not asked while it touches
    assert soon[8] == 0
    assert np.isnan(soon[9:]).all()  # the film ends before 0.5 s are over
    time = read("time to contact", truth)[:, 0]
    assert time[:7] == pytest.approx(np.arange(7, 0, -1) / 10)
    assert np.isnan(time[7:]).all()


def test_the_nearer_of_two_by_hand(make_truth):
    centres = np.concatenate([line(3, start=(10, 30), step=(12, 0)), line(3, start=(30, 30), step=(0, 0))], axis=1)
    depth = np.zeros((3, 2, 3))
    depth[:, 1, 1] = 1.0  # the second is a metre farther away
    truth = make_truth(centres, position_m=depth)
    # the first is left of the second, then right of it
    assert read("depth order", truth)[[0, 2], 0].tolist() == [1.0, 0.0]
    depth[:, 1, 1] = 0.1
    assert np.isnan(read("depth order", make_truth(centres, position_m=depth))).all()


def clip(**changed) -> Clip:
    told = (
        *("0" * 16, "film.mp4", None, 0.0, 2.0, 12.0, 24, 64, 64, 0, "h264"),
        *("val", None, None, "physics", "0" * 64, None),
    )
    return Clip(**{**dict(zip(Clip.__dataclass_fields__, told, strict=True)), **changed})


def test_a_film_without_truth_is_said(tmp_path):
    with pytest.raises(EvalError, match=r"film\.mp4: the manifest names no truth"):
        read_truth(clip())
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(EvalError, match="has no fixed, shape"):
        read_truth(clip(truth=str(tmp_path / "other.npz")))


def test_a_truth_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "evil.npz", **{name: np.array([object()]) for name in ("fixed", "shape", "colour_rgb", "present")})
    with pytest.raises(EvalError):
        read_truth(clip(truth=str(tmp_path / "evil.npz")))
    arrays = ("fixed", "shape", "colour_rgb", "present", "position_m", "centre_px", "width_px", "visible_px", "unoccluded_px")
    np.savez(tmp_path / "evil.npz", **{name: np.array([object()]) for name in (*arrays, "contact")})
    with pytest.raises(EvalError, match="cannot be read"):
        read_truth(clip(truth=str(tmp_path / "evil.npz")))
