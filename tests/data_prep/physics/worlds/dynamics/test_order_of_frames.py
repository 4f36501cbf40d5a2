"""In the dynamics world, the two contexts hold the same frames, and the same pairs of frames, in another order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from data_prep.physics.video_format import VideoFormat
from data_prep.physics.worlds import WORLDS
from data_prep.physics.worlds.dynamics.properties import PROPERTIES
from eval.voe.pairs import QUADRUPLET, quadruplet_scores
from eval.voe.scores.questions import DYNAMICS
from eval.voe.surprise.forecasting import frame_digests, frame_ids, shuffled_steps, unique_tubelets

VIDEO = VideoFormat(32, 24, 12.0)


def steps(frames: np.ndarray, start: int, stop: int) -> Counter[bytes]:
    """Pairs of frames, as a model with two frames per latent step sees them."""
    return Counter(frames[t : t + 2].tobytes() for t in range(start, stop - 1, 2))


@pytest.mark.parametrize(
    ("property_", "template"),
    [(property_, template) for property_ in PROPERTIES for template in property_.templates],
    ids=lambda it: it.name,
)
def test_contexts_hold_the_same_frames_and_latent_steps_in_another_order(property_, template):
    quadruplet = WORLDS["dynamics"].sample_quadruplet(property_, template, VIDEO, 1, "order", property_.name)
    frames = {pair: quadruplet.videos[pair].frames for pair in QUADRUPLET}
    a, b = frames["a", "u"], frames["b", "v"]
    start, stop = quadruplet.occlusion
    assert not np.array_equal(a[:start], b[:start])
    if property_.name not in ("delay", "queue"):  # a screen rises when both contexts look the same
        assert np.array_equal(a[start - 1], b[start - 1])
    for cut in range(start + 2, stop + 1):  # the contexts of locked windows, which end after a whole number of steps
        if cut % 2 and not np.array_equal(a[0], b[0]):
            continue  # the context starts one frame later, and the frame that is left out is not the same
        assert steps(a, cut % 2, cut) == steps(b, cut % 2, cut)

        contexts = np.stack([a[cut % 2 : cut], b[cut % 2 : cut]])
        _, latent_steps = unique_tubelets(torch.from_numpy(contexts), frame_ids([frame_digests(it) for it in contexts]), 2)
        assert np.array_equal(*shuffled_steps(latent_steps))  # the baseline of `eval voe` cannot tell them apart

        def ignores_order(video, cut=cut):  # any function of the bag of context frames, and of the outcome in its order
            context = np.sort(video[cut % 2 : cut].astype(np.int64).sum((1, 2, 3)))
            return float(np.abs(context[-1] - video[cut:].astype(np.int64).sum((1, 2, 3))).sum())

        assert quadruplet_scores(np.array([[ignores_order(frames[pair]) for pair in QUADRUPLET]])) == 0.5


def test_the_table_of_worlds_names_all_questions_of_the_dynamics_world():
    assert tuple(property_.name for property_ in PROPERTIES) == DYNAMICS
