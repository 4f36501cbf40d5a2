import pytest
import torch
from einops import reduce, repeat

from worldmodel.models.decoder import Decoder, DecoderConfig, decoder_loss, sides_px

SMALL = DecoderConfig(size_px=32, width=8)


@pytest.fixture(autouse=True)
def one_thread():
    """One thread: such small maps are no faster on several, and far slower where other work uses the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """Coarse coloured mosaics [count, 3, 32, 32], all different."""
    tiles = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return repeat(tiles, "m c y x -> m c (y h) (x w)", h=8, w=8)


def fit(decoder: Decoder, latents: torch.Tensor, frames: torch.Tensor, steps: int) -> torch.Tensor:
    """Mean absolute error of a colour after `steps` training steps."""
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=1e-2)
    for update in range(steps):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - update / steps)
        loss = decoder_loss(decoder(latents), frames)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return (decoder(latents) - frames).abs().mean().detach()


@pytest.mark.parametrize("spatial_tokens", [1, 16])
def test_eight_images_are_decoded_from_their_latents(spatial_tokens):
    frames = pictures(8)[None]  # one clip of eight time steps
    latents = torch.randn(1, 8, spatial_tokens, 16, generator=torch.Generator().manual_seed(1))
    constant_error = (frames - frames.mean(1, keepdim=True)).abs().mean()  # error of the best output that ignores the latents
    error = fit(Decoder(SMALL, features=16, tokens=spatial_tokens), latents, frames, steps=300)
    assert error < 0.03 < 0.2 < constant_error


def test_two_frames_of_a_latent_step_are_decoded_in_order():
    frames = pictures(8)[None]  # eight frames from four latents
    latents = torch.randn(1, 4, 1, 16, generator=torch.Generator().manual_seed(1))
    decoder = Decoder(SMALL, features=16, tubelet_size=2)
    assert fit(decoder, latents, frames, steps=300) < 0.06
    drawn = decoder(latents)
    distances = (drawn[0, :, None] - frames[0, None]).abs().mean((2, 3, 4))
    assert distances.argmin(1).tolist() == list(range(8))


def test_a_token_is_decoded_at_its_own_position():
    """Latents are the colours of 4x4 tiles, row by row from the top left: new mosaics are decoded correctly."""
    training, held_out = pictures(32, seed=0)[None], pictures(8, seed=1)[None]
    colours = "b t c (gy y) (gx x) -> b t (gy gx) c"
    decoder = Decoder(SMALL, features=3, tokens=16)
    fit(decoder, reduce(training, colours, "mean", y=8, x=8), training, steps=300)
    drawn = decoder(reduce(held_out, colours, "mean", y=8, x=8))
    right, turned = (drawn - held_out).abs().mean(), (drawn - held_out.transpose(-1, -2)).abs().mean()
    assert right < 0.3 * turned


def test_no_gradient_of_the_decoder_reaches_the_latents():
    latents = torch.randn(1, 2, 1, 16, requires_grad=True)
    decoder = Decoder(SMALL, features=16)
    decoder_loss(decoder(latents), pictures(2)[None]).backward()
    assert latents.grad is None
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_each_time_step_and_clip_is_decoded_by_itself():
    decoder = Decoder(SMALL, features=16, tubelet_size=2)
    latents = torch.randn(2, 3, 1, 16)
    whole = decoder(latents)
    assert torch.allclose(whole[1, 4:], decoder(latents[1:, 2:])[0], atol=1e-6)


def test_the_seed_determines_the_weights_and_torchs_generator_is_unchanged():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, same, other = (Decoder(SMALL, features=16, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.stem.weight, other.stem.weight)


@pytest.mark.parametrize(
    ("size_px", "coarsest", "expected"),
    [
        (64, 4, [4, 8, 16, 32, 64]),
        (224, 4, [4, 7, 14, 28, 56, 112, 224]),
        (64, 16, [16, 32, 64]),
        (50, 4, [4, 7, 13, 25, 50]),
    ],
)
def test_sides_of_the_maps_at_most_double(size_px, coarsest, expected):
    assert sides_px(size_px, coarsest) == expected
    frames = Decoder(DecoderConfig(size_px=size_px, width=1), features=4)(torch.zeros(1, 1, 1, 4))
    assert frames.shape == (1, 1, 3, size_px, size_px)


def test_larger_frames_are_averaged_down_to_the_decoded_size():
    drawn = pictures(2)[None]
    twice = repeat(drawn, "b t c h w -> b t c (h 2) (w 2)")
    assert decoder_loss(drawn, twice) == 0
    assert decoder_loss(drawn, torch.zeros_like(twice)) > 0


def test_wrong_inputs_are_refused_with_what_was_expected():
    with pytest.raises(ValueError, match="square grid of tokens"):
        Decoder(SMALL, features=4, tokens=6)
    with pytest.raises(ValueError, match="64 x 64 grid of latents does not fit"):
        Decoder(SMALL, features=4, tokens=4096)
    with pytest.raises(ValueError, match="a latent step of f frames is decoded into f frames"):
        decoder_loss(torch.zeros(1, 4, 3, 32, 32), torch.zeros(1, 2, 3, 32, 32))
