"""The pages in a real browser: they open, play and follow the cursor, and load nothing from outside."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from headless import Browser, needs_chromium
from PIL import Image

from eval.report import DecodedVideos, RankedVideo, VideoCard, write_report, write_video_page
from eval.report.training.page import write_training_report
from eval.report.training.run_folder import open_run

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    one = Browser(tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def report(evaluation) -> Path:
    return write_report(evaluation)


FIRST = "players.get(document.querySelector('#video-1-1'))"
TIMES = f"{FIRST}.videos.map((video) => video.currentTime)"


@pytest.fixture
def first(browser, report) -> Browser:
    """The page with its first trial visible and all its videos loaded."""
    browser.open(report)
    browser.js("document.querySelector('#video-1-1').scrollIntoView({ behavior: 'instant' })")
    browser.until(f"{FIRST}.opened && {FIRST}.videos.every((video) => video.readyState >= 2 && !video.seeking)")
    return browser


def test_the_page_loads_nothing_from_outside_and_has_no_errors(first, report):
    assert first.js("document.title") == "it on builtin"
    assert first.js("window.pwned === undefined")
    assert [url for url in first.requests() if not url.startswith(("blob:", "data:"))] == [report.as_uri()]
    assert first.complaints() == []


def test_videos_play_in_step_and_the_cursor_follows(first):
    """At half speed, 24 frames at 12 frames/s take four seconds."""
    first.js("document.querySelector('#video-1-1 .play').click()")
    first.until(f"{TIMES}.every((time) => time > 0.25)")
    times = np.array([first.js(TIMES) for _ in range(9)])
    assert times.shape == (9, 4)
    assert np.median(np.ptp(times, axis=1)) < 2 / 12  # a busy machine may skip a frame once
    first.until(f"{FIRST}.frame >= 6")
    first.js(f"{FIRST}.pause()")
    frame, line, x = first.js(f"[{FIRST}.frame, Number({FIRST}.now.getAttribute('x1')), {FIRST}.x({FIRST}.frame / 12)]")
    assert frame >= 6
    assert line == pytest.approx(x)
    assert first.js("document.querySelector('#video-1-1 .clock').textContent") == f"{frame / 12:.2f} s, frame {frame}"
    assert first.js(f"{FIRST}.videos.every((video) => video.paused)")
    assert first.js("document.querySelector('#video-1-1 .play').textContent") == "play"


def test_a_video_that_ends_starts_over(first):
    first.js(f"{FIRST}.seek(22); {FIRST}.toggle()")
    first.until(f"{FIRST}.frame < 12")
    assert first.js(f"{FIRST}.playing")
    first.until(f"{TIMES}.every((time) => time > 0 && time < 1)")


def test_the_cursor_can_be_dragged_and_stepped(first):
    first.js("window.box = document.querySelector('#video-1-1 .plot').getBoundingClientRect()")
    left, top, width, height = first.js("[box.left, box.top, box.width, box.height]")

    def x_of(time_s: float) -> float:
        return left + 46 + time_s / 2.0 * (width - 46 - 12)

    first.mouse("mousePressed", x_of(0.5), top + height / 2)
    first.mouse("mouseMoved", x_of(1.5), top + height / 2)
    first.mouse("mouseReleased", x_of(1.5), top + height / 2)
    assert first.js(f"{FIRST}.frame") == 18
    assert first.js(TIMES) == pytest.approx([18.5 / 12] * 4, abs=1e-3)  # the middle of the frame
    first.js("document.querySelector('#video-1-1').focus({ preventScroll: true })")
    first.key("ArrowRight")
    first.key("ArrowRight")
    first.key("ArrowLeft")
    assert first.js(f"{FIRST}.frame") == 19
    assert first.js(TIMES) == pytest.approx([19.5 / 12] * 4, abs=1e-3)
    first.key(" ")
    assert first.js(f"{FIRST}.playing")
    first.key(" ")
    assert not first.js(f"{FIRST}.playing")
    first.choose("#video-1-1 .cursor", 3, "input")
    assert first.js(TIMES) == pytest.approx([3.5 / 12] * 4, abs=1e-3)


def test_the_visible_frame_is_the_frame_of_the_clock(first):
    """A square whose left edge is at pixel t in frame t."""
    first.js(f"{FIRST}.seek(17)")
    first.until(f"{FIRST}.videos.every((video) => !video.seeking)")
    edge = first.js(
        f"""(() => {{
          const video = {FIRST}.videos[0], canvas = document.createElement('canvas');
          canvas.width = 48; canvas.height = 32;
          const pen = canvas.getContext('2d');
          pen.drawImage(video, 0, 0);
          const row = pen.getImageData(0, 15, 48, 1).data;
          return [...Array(48).keys()].find((x) => row[4 * x + 1] > 105);
        }})()"""
    )
    assert edge == 17


def test_curves_are_drawn_for_each_scorer_and_kind_of_window(first):
    assert first.js(f"{FIRST}.lines.length") == 4
    locked = first.js(f"{FIRST}.lines[0].path.getAttribute('d')")
    assert locked.startswith("M")
    styles = first.js(f"{FIRST}.lines.map((line) => line.style)")
    assert styles == ["style-possible-0", "style-impossible-0", "style-impossible-1", "style-possible-1"]
    first.choose("#video-1-1 select.curve", 1, "change")
    assert first.js(f"{FIRST}.lines[0].path.getAttribute('d')") != locked


def test_the_heat_map_covers_the_video_and_can_be_switched_off(first):
    corner = f"[...{FIRST}.items[0].canvas.getContext('2d').getImageData(1, 1, 1, 1).data][3]"
    first.js(f"{FIRST}.seek(13)")
    assert first.js(corner) > 150  # the fourth token is the most surprising
    assert first.js("document.querySelector('#video-1-1 .heat-scale').textContent") == "05"
    first.js(f"{FIRST}.heatOn.click()")
    assert first.js(corner) == 0


def test_the_heat_map_belongs_to_the_selected_curve(first):
    """Locked windows have surprise from frame 12 on, sliding ones from frame 6 on. The latent distance has no heat map."""
    corner = f"[...{FIRST}.items[0].canvas.getContext('2d').getImageData(0, 0, 1, 1).data][3]"
    first.js(f"{FIRST}.seek(7)")
    assert first.js(corner) == 0
    names = first.js(f"{FIRST}.data.curves.map((curve) => curve.name)")
    first.choose("#video-1-1 select.curve", names.index("whitened, sliding windows"), "change")
    assert 0 < first.js(corner) < 50
    first.choose("#video-1-1 select.curve", names.index("latent distance, sliding windows"), "change")
    assert first.js(corner) == 0
    assert first.js("document.querySelector('#video-1-1 .heat-scale').hidden")


def test_another_property_shows_its_trials_and_distant_videos_are_closed(first):
    second = "players.get(document.querySelector('#video-2-1'))"
    assert not first.js(f"Boolean({second}.opened)")
    first.js("document.querySelectorAll('.chooser button')[1].click()")
    first.until(f"{second}.opened && {second}.videos.every((video) => video.readyState >= 2)")
    first.until(f"!{FIRST}.opened")
    assert first.js(f"{second}.lines.length") == 4
    assert first.complaints() == []


def test_curves_of_missing_videos_play_by_an_internal_clock(first):
    lost = "players.get(document.querySelector('#video-1-2'))"
    assert first.js(f"{lost}.videos.length") == 0
    first.js(f"{lost}.toggle()")
    first.until(f"{lost}.frame >= 3")
    first.js(f"{lost}.pause()")


@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_fits_the_screen_and_is_not_blank(browser, report, tmp_path, width):
    browser.open(report, width=width)
    assert browser.js("document.documentElement.scrollWidth") <= width
    for name in ("result", "video-1-1"):
        browser.js(f"document.querySelector('#{name}').scrollIntoView({{ behavior: 'instant' }})")
        browser.until(f"{FIRST}.opened || '{name}' === 'result'")
        (tmp_path / f"{name}_{width}.png").write_bytes(browser.screenshot())
        pixels = np.asarray(Image.open(io.BytesIO((tmp_path / f"{name}_{width}.png").read_bytes())).convert("RGB"))
        assert pixels.shape == (1000, width, 3)
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_decoded_forecasts_play_in_step_and_show_their_context(browser, tmp_path):
    """The context is the first two frames until frame 6, and frames 4 and 5 after that. The video opens at its peak."""
    video = np.zeros((12, 20, 30, 3), np.uint8)
    video[6:], times = 250, [t / 6 for t in range(12)]
    decoded = DecodedVideos(
        video[::-1], video, [(1 / 6, 0.0, 2 / 6), (1.0, 4 / 6, 1.0)], [(1 / 6, "0.10 s <b>ahead</b>"), (1.0, "0.20 s ahead")]
    )
    card = VideoCard("it", video, 6.0, times, {"distance": times}, {}, {}, decoded=decoded, peak_s=1.5)
    browser.open(write_video_page(tmp_path / "videos.html", "Surprise", "", [card], notes=["No <i>more</i>."]))
    player = "players.get(document.querySelector('#video-1'))"
    browser.until(f"{player}.opened && {player}.videos.every((video) => video.readyState >= 2 && !video.seeking)")
    assert browser.js(f"{player}.frame") == 9
    caption_text = "document.querySelector('figure[data-video=\"1\"] output').textContent"
    bar = f"['x1', 'x2'].map((end) => Number({player}.context.firstChild.getAttribute(end)))"
    grey = f"""[...{player}.videos].map((video) => {{
      const pen = document.createElement('canvas').getContext('2d');
      pen.drawImage(video, 0, 0);
      return pen.getImageData(15, 10, 1, 1).data[0] > 125;
    }})"""
    assert browser.js(caption_text) == "0.20 s ahead"
    assert browser.js(bar) == pytest.approx(browser.js(f"[{player}.x(4 / 6), {player}.x(1)]"), abs=0.01)
    assert browser.js(grey) == [True, False, True]  # the video, the forecast, the ground truth
    browser.js(f"{player}.seek(2)")
    browser.until(f"{player}.videos.every((video) => !video.seeking)")
    assert browser.js(caption_text) == "0.10 s <b>ahead</b>"
    assert browser.js(bar) == pytest.approx(browser.js(f"[{player}.x(0), {player}.x(2 / 6)]"), abs=0.01)
    assert browser.js(grey) == [False, True, False]
    browser.js(f"{player}.seek(0)")
    assert browser.js(caption_text) == ""
    assert browser.js(f"{player}.context.getAttribute('visibility')") == "hidden"
    assert "No <i>more</i>." in browser.js("document.body.innerText")
    assert browser.complaints() == []


def test_single_videos_play_too(browser, tmp_path):
    frames = np.zeros((12, 20, 30, 3), np.uint8)
    times = [t / 6 for t in range(12)]
    title = "<script>window.pwned=1</script>.mp4"
    levels = {"distance": [(1.0, "half lie below"), (2.5, "95 % lie below")]}
    maps = {"distance": np.ones((12, 4), np.float32)}
    card = VideoCard(title, frames, 6.0, times, {"distance": times}, maps, {"plausibility": "12 %"}, levels)
    row = RankedVideo(1, title, 0.12, 0.5, 1.0, 1.8, 1)
    browser.open(
        write_video_page(tmp_path / "videos.html", "Surprise", "", [card], [row], "distance", {title: "<b>truncated</b>"})
    )
    player = "players.get(document.querySelector('#video-1'))"
    browser.until(f"{player}.opened && {player}.videos[0].readyState >= 2")
    browser.js("document.querySelector('.play').click()")
    browser.until(f"{player}.videos[0].currentTime > 0.3")
    assert browser.js("document.querySelector('h3').textContent") == title
    assert browser.js("window.pwned === undefined")
    assert browser.complaints() == []
    assert browser.js("[...document.querySelectorAll('.plot text')].slice(-2).map((it) => it.textContent)") == [
        "half lie below",
        "95 % lie below",
    ]
    heights = browser.js("[...document.querySelectorAll('.plot .mark')].map((it) => Number(it.getAttribute('y1')))")
    assert heights == browser.js(f"[{player}.y(1), {player}.y(2.5)]")
    assert min(heights) > 34  # within the plot, although the curve ends below the upper one
    assert browser.js("document.querySelector('.ranking a').textContent") == title
    browser.js("document.querySelector('.ranking a').click()")
    assert browser.js("location.hash") == "#video-1"


@pytest.mark.parametrize("width", [1400, 400])
def test_a_training_report_opens_offline_and_fits_the_screen(browser, make_run, tmp_path, width):
    run = make_run(tmp_path / "run")
    browser.open(write_training_report(open_run(run), run / "report.html"), width=width)
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert browser.js("[...document.querySelectorAll('.glance .answer')].map((it) => it.textContent)")[0] == "Yes"
    # verdicts are at the position of their steps
    band = browser.js(
        "(() => { const whole = document.querySelector('.band').getBoundingClientRect();"
        " return [...document.querySelectorAll('.band')[0].children].map((it) => it.getBoundingClientRect())"
        " .map((it) => [(it.left - whole.left) / whole.width, it.width / whole.width]) })()"
    )
    assert np.array(band) == pytest.approx(np.array([[0, 1], [1, 1], [2, 2], [4, 2]]) / 6, abs=0.01)
    drawn = browser.js("[...document.querySelectorAll('.plots svg')].map((it) => it.getBoundingClientRect().width)")
    assert len(drawn) > 10
    assert min(drawn) > 300
