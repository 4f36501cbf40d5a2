"""What a latent of the frame encoder sees: places of small things, and means over rows and columns."""

import pytest
import torch

from worldmodel.models.blocks.profiles import frame_profiles
from worldmodel.models.encoder import EncoderConfig, FrameEncoder

SIZE = 12


def encoder(**options: object) -> FrameEncoder:
    torch.manual_seed(0)
    config = {"patch_px": 4, "width": 8, "depth": 0, "latent_dim": 6, "head_width": 16, "heads": 2}
    return FrameEncoder(EncoderConfig.model_validate({**config, **options}), SIZE)


def wall(column: int, door: int) -> torch.Tensor:
    """A frame [1, 1, 3, S, S] with a bright column that has a gap of two rows."""
    frame = torch.zeros(1, 1, 3, SIZE, SIZE)
    frame[..., column] = 1
    frame[..., door : door + 2, column] = 0
    return frame


def test_a_profile_worked_by_hand():
    """A column of 10 bright pixels: its mean is 10/12, that of 11 other columns 0. Normalised: sqrt(11) and -1/sqrt(11)."""
    found = frame_profiles(wall(3, 5), tubelet_size=1).view(3, 2, SIZE)  # colour, axis, place
    rows, columns = found[0]
    assert columns.argmax() == 3
    assert columns[3].item() == pytest.approx(11**0.5, rel=1e-4)
    assert columns[0].item() == pytest.approx(-(11**-0.5), rel=1e-4)
    # rows: 10 with a pixel, 2 without
    assert rows[5].item() == rows[6].item() == pytest.approx(-(5**0.5), rel=2e-2)
    assert rows[0].item() == pytest.approx(5**-0.5, rel=2e-2)


def test_a_gap_in_a_wall_has_contrast_beside_a_long_wall():
    """Two walls, one with a gap, and a border: rows have the means 1, 2/12 and 1/12; the smallest is subtracted first."""
    frame = wall(3, 5)
    frame[..., 8] = 1  # a second column, without a gap
    frame[..., 0, :] = frame[..., -1, :] = 1
    rows = frame_profiles(frame, 1).view(3, 2, SIZE)[0, 0]
    contrast = (rows[4] - rows[5]) / (rows[0] - rows[4])
    expected = ((1 / 12 + 1e-4) ** 0.5 - 1e-4**0.5) / ((11 / 12 + 1e-4) ** 0.5 - (1 / 12 + 1e-4) ** 0.5)
    assert contrast.item() == pytest.approx(expected, rel=1e-3)
    assert expected > 3 * (1 / 12) / (10 / 12)  # without the root


def test_an_even_picture_has_profiles_of_zero():
    assert torch.equal(frame_profiles(torch.ones(2, 4, 3, SIZE, SIZE), 2), torch.zeros(2, 2, 2 * 6 * SIZE))


def test_where_the_door_is_does_not_change_the_profile_of_the_wall():
    first, second = (frame_profiles(wall(3, door), 1).view(3, 2, SIZE)[0] for door in (2, 8))
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("options", [{"profiles": True}, {"keypoints": 4}, {"profiles": True, "linear_dim": 2}])
def test_latents_have_the_stated_shape_and_see_their_own_frames_alone(options: dict[str, object]):
    model = encoder(**options, tubelet_size=2)
    frames = torch.randn(3, 4, 3, SIZE, SIZE)
    latents = model(frames)
    assert latents.shape == (3, 2, 1, 6)
    changed = frames.clone()
    changed[:, 2:] = 0
    assert torch.equal(model(changed)[:, 0], latents[:, 0])
    assert not torch.equal(model(changed)[:, 1], latents[:, 1])


@pytest.mark.parametrize("option", [{"profiles": True}, {"keypoints": 4}])
def test_what_describes_a_whole_frame_needs_one_token(option: dict[str, object]):
    with pytest.raises(ValueError, match="whole frame"):
        encoder(**option, latent_grid=3)


def test_keypoints_follow_a_bright_thing():
    """With initial weights already: a dot that moves by a patch moves the places of some keypoints by most of a patch."""
    model = encoder(keypoints=8)
    frames = torch.zeros(2, 1, 3, SIZE, SIZE)
    frames[0, ..., 5, 1], frames[1, ..., 5, 9] = 5, 5
    patches = frames.reshape(2, 3, 3, 4, 3, 4).permute(0, 2, 4, 1, 3, 5).reshape(2, 9, 48)
    tokens = torch.zeros(2, 9, 8)
    places = model.keypoints(patches, tokens).view(2, 8, 2)
    assert (places[1] - places[0])[:, 1].abs().max() > 1  # from -1 to 1 at most; two patches
    assert (places[1] - places[0])[:, 0].abs().max() < 0.1
