"""The gallery of rollouts: one self-contained HTML page that plays the given videos."""

import re
from pathlib import Path

import numpy as np
import pytest
from headless import Browser, needs_chromium

from worldmodel.render import GalleryCard, write_gallery
from worldmodel.render.rollouts import Rollout, gallery_card, rollout_names

NAME = '<script>window.pwned=1</script>"&.mp4'
FPS, FRAMES, CONTEXT = 12.0, 24, 8


def card(panels: int = 6) -> GalleryCard:
    """The last panel is a bar whose right edge is at pixel 2 t in frame t; the others are black."""
    videos = {f"panel {i}": np.zeros((FRAMES, 64, 64, 3), np.uint8) for i in range(panels)}
    for t, frame in enumerate(videos[f"panel {panels - 1}"]):
        frame[:, : 2 * t] = 255
    curve = [float("nan")] * CONTEXT + [float(t) for t in range(FRAMES - CONTEXT)]
    return GalleryCard(NAME, "demo, step 7", FPS, CONTEXT, videos, {"distance": curve, NAME: curve[::-1]})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "gallery.html"
    return write_gallery(path, NAME, "squared latent error", "demo", [card(), card()], ["<b>a note</b>"])


def test_names_are_escaped_and_nothing_is_fetched(page: Path):
    text = page.read_text()
    assert "<script>window" not in text
    assert "<b>a note" not in text
    assert text.count("&lt;script&gt;window.pwned=1&lt;/script&gt;") >= 4
    assert {link[:5] for link in re.findall(r'(?:src|href)="([^"]*)"', text)} == {"data:"}
    assert not re.search(r"https?://", text)


def test_a_panel_of_another_length_is_refused(tmp_path: Path):
    wrong = card()
    wrong.panels["panel 1"] = wrong.panels["panel 0"][:-1]  # type: ignore[index]
    with pytest.raises(ValueError, match="panel 1 has 23 values for 24 frames"):
        write_gallery(tmp_path / "gallery.html", "", "", "", [wrong], [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tokens", [1, 4])
def test_a_rollout_of_one_token_or_many_without_a_decoder(tmp_path: Path, tokens: int):
    """Two frames per latent; two of four steps are context, for which no curve has a value."""
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    target, prediction = rng.normal(size=(2, 4, tokens, 6))
    error = np.array([[0.0], [0.0], [1.0], [3.0]]).repeat(tokens, axis=1)
    rollout = Rollout("a", video, 4, np.arange(8) / FPS, target, prediction, error, None, (), video, np.array([9.0, 9, 2, 5]))
    made = gallery_card(rollout, FPS, "demo")
    assert [len(panel) for panel in made.panels.values()] == [8] * len(made.panels)
    assert ("latents of the ground truth" in made.panels) == (tokens > 1)
    assert "prediction (decoded)" not in made.panels
    nan = [float("nan")] * 4
    np.testing.assert_equal(list(made.curves.values()), [[*nan, 1, 1, 3, 3], [*nan, 2, 2, 5, 5]])
    assert write_gallery(tmp_path / "gallery.html", "", "", "", [made], []).exists()


@needs_chromium
def test_videos_play_and_the_cursor_and_the_visible_frame_follow_the_clock(page: Path, tmp_path: Path):
    browser = Browser(tmp_path)
    try:
        browser.open(page)
        browser.until("players[0].video.readyState >= 2 && !players[0].video.seeking")
        start = browser.js("[players[0].frame, Number(players[0].now.getAttribute('x1'))]")
        assert start[0] == CONTEXT
        browser.js("document.querySelector('.play').click()")
        browser.until("players[0].frame >= 12")
        browser.until("players[0].frame < 6")  # it begins again
        browser.js("document.querySelector('.play').click()")
        assert browser.js("players[0].video.paused && !players[0].playing")
        assert browser.js("Number(players[0].now.getAttribute('x1'))") < start[1]

        browser.choose("#rollout-1 .scrub", 17, "input")
        browser.until("!players[0].video.seeking")
        browser.js("players[0].draw()")
        edge = browser.js(
            "[...players[0].pens[5].getImageData(0, 128, 256, 1).data].filter((v, i) => i % 4 === 1 && v > 128).length"
        )
        assert edge == pytest.approx(2 * 17 * 4, abs=4)  # 64 px are drawn as 256
        assert browser.js("document.querySelector('.clock').textContent") == f"{17 / FPS:.2f} s, prediction"
        assert browser.js("[...document.querySelectorAll('#rollout-1 .value')].map((it) => it.textContent)") == ["9", "–"]

        box = browser.js(
            "(({ left, top, width, height }) => [left, top, width, height])(players[0].plot.getBoundingClientRect())"
        )
        browser.mouse("mousePressed", box[0] + (52 + 3.5 / FRAMES * (720 - 52 - 12)) / 720 * box[2], box[1] + box[3] / 2)
        assert browser.js("players[0].frame") == 3
        assert browser.js("window.pwned === undefined")
        assert [url for url in browser.requests() if not url.startswith("data:")] == [page.as_uri()]
        assert browser.complaints() == []
    finally:
        browser.close()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/a/clip.mp4"], ["clip_rollout"]),
        (["/a/clip.mp4", "/a/../a/clip.mp4"], ["clip_rollout"]),
        (["/a/x/clip.mp4", "/b/x/clip.mp4", "/c/other.mp4"], ["a_x_clip_rollout", "b_x_clip_rollout", "other_rollout"]),
        (["/a/clip.mp4", "/b/Clip.mp4"], ["a_clip_rollout", "b_Clip_rollout"]),
        (["/a/clip.mp4", "/a/clip.avi"], ["a_clip_rollout", "a_clip_2_rollout"]),
        (["/x/a/b.mp4", "/x/c/b.mp4", "/x/a_b.mp4"], ["x_a_b_rollout", "c_b_rollout", "x_a_b_2_rollout"]),
    ],
)
def test_no_two_clips_share_a_name(paths: list[str], names: list[str]):
    assert list(rollout_names(paths).values()) == names
