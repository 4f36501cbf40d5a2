"""Where a hidden thing is: passages found, errors in widths, and what knows nothing of the thing."""

import numpy as np
import pytest
import torch

from eval.probes import tracking
from eval.probes.evaluation import CONSTANT_VELOCITY, Cohort
from eval.probes.gathering import MODEL, PIXELS, Films
from eval.probes.linear import Folded
from eval.probes.recordings import Recording
from eval.probes.tracking import COPY, OCCLUDER, OTHERS, passages, track
from worldmodel.manifest import Clip

STEPS, HIDDEN = 12, slice(5, 9)


def film(make_truth, tmp_path, number: int, step: float):
    """A body of 8 px that goes `step` px a step (0.1 s), hidden at steps 5 to 8 behind an occluder around x = 32."""
    centres = np.stack([20 + number / 2 + step * np.arange(STEPS), np.full(STEPS, 30.0)], axis=1)[:, None]
    visible = np.full((STEPS, 1), 50)
    visible[HIDDEN] = 0
    segmentation = np.zeros((STEPS, 64, 64), np.uint8)
    segmentation[:, 20:40, 28:36] = 255
    np.savez(tmp_path / f"{number}.npz", segmentation=segmentation)
    told = (f"{number:016d}", "", None, 0.0, 1.2, 10.0, STEPS, 64, 64, 0, "h264", "val", None, str(tmp_path / f"{number}.npz"))
    return make_truth(centres, visible_px=visible), Clip(*told, "physics", "0")


@pytest.fixture
def films(make_truth, tmp_path) -> Films:
    made = [film(make_truth, tmp_path, number, step=0.0 if number % 4 == 0 else 2.0) for number in range(12)]
    truths, clips = zip(*made, strict=True)
    return Films(clips, STEPS, Cohort(truths, [np.arange(STEPS)] * len(clips), 0.1, 3))


def test_a_passage_begins_when_nothing_shows_any_more(films):
    found = passages(films)
    assert [(it.film, it.cut, it.steps) for it in found] == [(number, 5, 4) for number in range(12)]
    assert [it.moves for it in found] == [number % 4 != 0 for number in range(12)]


def test_a_body_that_shows_a_pixel_is_not_hidden(make_truth, films):
    visible = films.cohort.truths[0].visible_px.copy()
    visible[6] = 1
    truth = make_truth(films.cohort.truths[0].centre_px, visible_px=visible)
    cohort = Cohort([truth, *films.cohort.truths[1:]], films.cohort.shown, 0.1, 3)
    found = passages(Films(films.clips, STEPS, cohort))[0]
    assert (found.cut, found.steps) == (7, 2)


def perfect(films: Films):
    """Instead of films and networks: a model whose latents, forecasts too, are the body's place."""

    def gather(what, nets, groups, frames, device):
        found = []
        for clips, reach in groups:
            chosen = [films.clips.index(clip) for clip in clips]
            place = films.cohort.body_track()[0][chosen][:, :, None].astype(np.float32)
            model = Recording(
                place,
                {cut: place[:, cut - 3 : cut] for cut in reach},
                {cut: place[:, cut : cut + ahead] for cut, ahead in reach.items()},
            )
            found.append({MODEL: model, PIXELS: Recording(model.target, model.seen, {})})
        return found

    return gather


def test_errors_are_in_widths_and_bodies_at_rest_stand_apart(films, monkeypatch):
    monkeypatch.setattr(tracking, "gather", perfect(films))
    reads_place = Folded([lambda latents: latents.reshape(len(latents), 2)] * 3)
    found = track(films, {}, {MODEL: reads_place, PIXELS: reads_place}, torch.device("cpu"))
    moving, resting = found["moving when last seen"], found["at rest when last seen"]
    assert moving["model: forecast"]["0.4"] == pytest.approx({"value": 0, "low": 0, "high": 0, "n": 9}, abs=1e-6)
    # last seen at step 4; four steps of 2 px later it is a width of 8 px further
    assert [moving[COPY][time]["value"] for time in ("0.1", "0.4")] == pytest.approx([0.25, 1.0])
    assert moving["model: copy"]["0.4"]["value"] == pytest.approx(1.0)
    assert moving[CONSTANT_VELOCITY]["0.4"]["value"] == pytest.approx(0)
    assert resting[COPY]["0.4"]["value"] == 0
    assert (resting[COPY]["0.4"]["n"], found["all"][COPY]["0.4"]["n"]) == (3, 12)
    # film 1 at step 5 is at 30.5; the occluder's middle is 32, 30
    assert found["all"][OCCLUDER]["0.1"]["value"] == pytest.approx(
        np.mean([abs(20 + n / 2 + (0 if n % 4 == 0 else 10) - 32) for n in range(12)]) / 8
    )
    assert moving[OTHERS]["0.1"]["value"] > 0


def test_the_mean_place_of_others_leaves_out_the_film_and_its_fold():
    there = np.array([[[1.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [np.nan, np.nan]]])
    assert tracking._mean_place(there).tolist() == [[2.0, 0.0], [2.0, 0.0]]
    only_early = np.array([[[1.0, 0.0], [np.nan, np.nan]]])
    assert tracking._mean_place(only_early).tolist() == [[1.0, 0.0], [1.0, 0.0]]  # nobody lasts: the mean over all times


def test_no_body_out_of_sight_is_none(films, make_truth):
    seen = [make_truth(truth.centre_px) for truth in films.cohort.truths]
    cohort = Cohort(seen, films.cohort.shown, 0.1, 3)
    assert track(Films(films.clips, STEPS, cohort), {}, {}, torch.device("cpu")) is None
