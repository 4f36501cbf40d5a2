"""The report states the numbers of the evaluation, shows the right videos, and escapes all text from disk."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser

import av
import numpy as np
import pytest

from eval.report import RankedVideo, VideoCard, write_report, write_video_page
from eval.report.heat import mean_map
from eval.report.player import HeatMap, Player, PlayerVideo
from eval.report.plots import accuracy_curve
from eval.report.quadruplets import select_trials, time_of_widest_gap
from eval.report.rendering import p_value, percent
from eval.report.tables import verdict
from eval.report.videos import mp4_bytes, mp4_bytes_within, trial_video_mp4
from eval.voe.trials import Trial, Video


class Page(HTMLParser):
    """A parsed page: its text, its tags, and the data of its players."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.raw_text, self.tags, self.data, self.inside = "", [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag not in ("script", "style") else str(dict(attrs).get("type", "program"))

    def handle_data(self, data):
        if self.inside == "application/json":
            self.data.append(json.loads(data))
        elif self.inside not in ("program", "style"):
            self.raw_text += f"{data} "

    def handle_endtag(self, tag):
        self.inside = ""

    def text(self) -> str:
        return " ".join(self.raw_text.split())


@pytest.fixture(scope="module")
def page(evaluation) -> Page:
    return Page(write_report(evaluation).read_text(encoding="utf-8"))


@pytest.fixture
def copied(evaluation, tmp_path):
    """A copy of the evaluation that a test may change."""
    shutil.copytree(evaluation, tmp_path / "out")
    return tmp_path / "out"


def test_the_headline_is_the_mean_over_properties(page):
    """14 of 16 quadruplets are correct for one property, and 16 of 16 for the other: 93.75 %."""
    assert "93.8 %" in page.text()
    assert "n 32" in page.text()
    assert "chance 50" in page.text()
    assert "significantly above all 2 tested baselines (p < .01)" in page.text()


def test_whitened_surprise_comes_before_the_latent_distance(page):
    text = page.text()
    assert (
        0 < text.index("whitened surprise target scope: past 93.8 %") < text.index("latent distance target scope: past 93.8 %")
    )


def test_nothing_from_disk_becomes_markup(page):
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert len([attrs for attrs in scripts if attrs.get("type") == "application/json"]) == len(page.data) == 6
    assert len(scripts) == 7  # those, and the script of the page
    assert "gone.mp4" in page.raw_text
    assert not [tag for tag, _ in page.tags if tag == "u"]
    assert "<script>window.pwned=1</script>" in page.raw_text
    assert "Its notes & their <i>markup</i>." in page.raw_text
    assert "suites/<i>suite</i>" in page.raw_text


def test_the_page_loads_nothing_from_outside(page, evaluation):
    for tag, attrs in page.tags:
        for name in ("src", "href", "data", "poster", "srcset", "xlink:href"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, name, attrs[name])
    text = (evaluation / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|@import|<link|<base", text)
    assert "default-src 'none'" in text


def test_per_property_the_median_the_best_and_the_worst_are_shown(page):
    notes = re.findall(r"permanence-test-\d\d", page.text())
    assert notes == ["permanence-test-08", "permanence-test-15", "permanence-test-00"]
    assert "worst failure permanence-test-00" in page.text()
    assert "smallest margin" in page.text()  # of the other property, which is always correct


def test_missing_videos_are_reported_and_their_curves_are_shown(page):
    best = page.data[1]
    assert [video["mp4"] for video in best["videos"]] == [None] * 4
    assert page.text().count("<u>gone.mp4 can no longer be read") == 4
    assert max(best["curves"][0]["lines"][1][1]) == pytest.approx(1 + 0.1 * 16 + 0.01, abs=0.01)


def test_rows_are_contexts_and_columns_outcomes(page):
    median = page.data[0]
    assert [video["kind"] for video in median["videos"]] == ["possible", "impossible", "impossible", "possible"]
    text = page.text()
    text = text.partition("The best, median and worst trial")[2].partition("median")[2]
    text = text[text.index("outcome u") :]
    assert text.index("outcome u") < text.index("outcome v") < text.index("context a") < text.index("context b")


def test_a_curve_is_the_mean_over_the_windows_that_forecast_a_time(page):
    """Two locked windows begin at frames 12 and 13; they differ by 0.01, and impossible videos by 0.9 from frame 15 on."""
    curves = {curve["name"]: curve["lines"] for curve in page.data[0]["curves"]}
    assert next(iter(curves)) == "whitened, locked windows"
    times, values = curves["whitened, locked windows"][1]
    assert times[:4] == pytest.approx([1.0, 13 / 12, 14 / 12, 15 / 12], abs=1e-4)
    assert values[:4] == pytest.approx([1.0, 1.005, 1.005, 1.905], abs=1e-4)
    assert len(curves["latent distance, sliding windows"][0][0]) == 24 - 4  # the shorter context has 4 frames


def test_fewer_than_thirty_groups_give_an_interval_and_no_single_number(copied):
    scores = json.loads((copied / "scores.json").read_text())
    scores["headline"]["whitened"] = {"range": [0.61, 1.0], "n": 6, "reason": "fewer than 30 trials"}
    (copied / "scores.json").write_text(json.dumps(scores))
    text = Page(write_report(copied).read_text()).text()
    assert "61–100 % 95 % interval. No single number is given, because there are fewer than 30 trials (n 6)." in text


def test_notes_and_left_out_videos_are_shown_as_plain_text(copied):
    protocol, scores = (json.loads((copied / name).read_text()) for name in ("protocol.json", "scores.json"))
    reasons = {"p-test-0-au": "truncated: <i>90</i> of 100 frames", **{f"x{number:03d}": "gone" for number in range(101)}}
    protocol["left_out"] = reasons
    scores["notes"] = ["Without a balanced score: <i>shape</i>."]
    scores["left_out"] = {"whitened": [*reasons, "<u>lone</u>"], "latent distance": list(reasons)}
    (copied / "protocol.json").write_text(json.dumps(protocol))
    (copied / "scores.json").write_text(json.dumps(scores))
    page = Page(write_report(copied).read_text())
    text = page.text()
    assert "Without a balanced score: <i>shape</i>." in text
    assert "Left out : 102 videos could not be evaluated, so their trials have no score." in text
    assert "p-test-0-au truncated: <i>90</i> of 100 frames" in text
    assert "and 2 more; protocol.json and scores.json list all" in text
    assert "Without a score by whitened surprise: 1 more video <u>lone</u>" in text
    assert "by latent distance: " not in text
    assert not [tag for tag, _ in page.tags if tag in ("u", "i") and _ == {}]


def test_tables_of_locked_and_of_sliding_windows_are_shown(page):
    text = page.text()
    assert text.count("whitened surprise , locked windows") == 2
    assert text.count("whitened surprise , sliding windows") == 2  # one of them of the val split


def test_a_complete_evaluation_leaves_nothing_out(page):
    assert "Left out" not in page.text()
    assert "Without a score by" not in page.text()


def test_a_suite_without_public_labels_has_a_page(copied):
    (copied / "scores.json").write_text(json.dumps({"format": 1, "headline": {}, "tree": {}, "notes": []}))
    page = Page(write_report(copied).read_text())
    assert "The labels of this suite are not public" in page.text()
    assert page.data == []


def test_a_curve_by_magnitude_names_the_quantity_and_is_left_out_without_one(copied):
    protocol = json.loads((copied / "protocol.json").read_text())
    assert Page(write_report(copied).read_text()).text().count("By size of the change") == 2
    protocol["suite"]["magnitudes"] = {"permanence": "jump, in <b>widths</b>"}
    (copied / "protocol.json").write_text(json.dumps(protocol))
    text = Page(write_report(copied).read_text()).text()
    assert text.count("By size of the change") == 1
    assert "jump, in <b>widths</b>" in text


def test_the_effect_of_whitening_is_shown_by_property_from_none_to_the_most(copied):
    scores = json.loads((copied / "scores.json").read_text())
    for windows in scores["tree"].values():
        for count, value in ((100, 0.7), (25, 0.6)):
            windows[f"whitened, {count} videos"] = json.loads(json.dumps(windows["whitened"]))
            for name in ("all", "permanence"):
                next(iter(windows[f"whitened, {count} videos"][name]["occluded"]["all"]["all"].values()))["value"] = value
    (copied / "scores.json").write_text(json.dumps(scores))
    page = Page(write_report(copied).read_text())
    text = page.text()
    (details,) = [attrs for tag, attrs in page.tags if tag == "details" and attrs.get("id") == "whitening"]
    assert "open" in details
    assert "property raw 25 videos 100 videos 400 videos n mean 94 " in text
    assert re.search(r"permanence 88 \d+–\d+ 60 \d+–\d+ 70 \d+–\d+ 88 ", text)


def test_a_pixel_baseline_has_a_page(copied):
    protocol = json.loads((copied / "protocol.json").read_text())
    protocol["model"] = {"name": "pixel copy", "spec": "baseline:pixel copy", "hash": "0", "step": None}
    protocol["whitening"] = None
    (copied / "protocol.json").write_text(json.dumps(protocol))
    scores = json.loads((copied / "scores.json").read_text())
    for windows in scores["tree"].values():
        windows["pixel copy"] = windows.pop("latent distance")
        del windows["whitened"]
    scores["headline"] = {"pixel copy": scores["headline"]["latent distance"]}
    (copied / "scores.json").write_text(json.dumps(scores))
    page = Page(write_report(copied).read_text())
    assert "pixel copy 93.8 %" in page.text()
    assert "target scope" not in page.text()
    assert page.data[0]["curves"][0]["name"] == "pixel copy, locked windows"


def test_tokens_that_form_no_grid_have_no_heat_map_and_the_page_says_why(copied):
    shutil.rmtree(copied / "maps")
    protocol = json.loads((copied / "protocol.json").read_text())
    for latent, expected_text in (
        ([1, 32], "one latent per time step"),
        ([6, 32], "6 tokens of the model do not form a square grid"),
        ([4, 32], "run the same evaluation again to store them"),
    ):
        protocol["model"]["latent"] = latent
        (copied / "protocol.json").write_text(json.dumps(protocol))
        assert expected_text in Page(write_report(copied).read_text()).text()


def test_heat_maps_have_one_scale_for_all_videos_of_a_trial(page):
    """Of sliding windows, only those of the context length of the curve count."""
    curve = next(entry for entry in page.data[0]["curves"] if entry["name"] == "whitened, sliding windows")
    heats = curve["heats"]
    assert curve["peak"] == 1.0
    assert [heat["grid_size"] for heat in heats] == [2] * 4
    assert heats[0]["times"] == pytest.approx([6 / 12, 7 / 12, 8 / 12, 12 / 12, 13 / 12, 14 / 12], abs=1e-4)
    possible, impossible = (np.frombuffer(base64.b64decode(heat["levels"]), np.uint8)[:4].tolist() for heat in heats[:2])
    assert possible == [26, 26, 26, 255]  # 1 + 0.1 x 254
    assert impossible == [103, 103, 103, 255]


def test_overlapping_maps_are_averaged_without_missing_steps():
    maps = np.array([[[1.0], [3.0]], [[5.0], [np.nan]]])
    heat = mean_map(maps, np.array([0.0, 0.5]), 0.5)
    assert heat.times_s == [0.0, 0.5]
    assert heat.values.tolist() == [[1.0], [4.0]]


def test_each_curve_has_its_own_map(page):
    by_name = {curve["name"]: curve for curve in page.data[0]["curves"]}
    locked = by_name["whitened, locked windows"]
    assert locked["peak"] == 5.0
    assert locked["heats"][0]["times"] == pytest.approx([12 / 12, 13 / 12, 14 / 12, 15 / 12], abs=1e-4)
    assert by_name["latent distance, locked windows"]["heats"] == [None] * 4
    assert "The heat map over a video shows the surprise of the selected curve by token" in page.text()


def test_a_heat_map_is_empty_where_nothing_was_forecast():
    heat = HeatMap([0.0, 1.0], np.array([[np.nan] * 4, [0.0, 1.0, 2.0, 2.0]]))
    player = Player(
        "it", 10, 2, [PlayerVideo("", "unlabelled", b"")], {"latent distance": [([], [])]}, {"latent distance": [heat]}
    )
    levels = player.data["curves"][0]["heats"][0]["levels"]
    assert list(base64.b64decode(levels)) == [0, 0, 0, 0, 1, 128, 255, 255]


def test_a_heat_map_without_a_video_is_not_offered():
    heat = HeatMap([0.0], np.ones((1, 4)))
    player_videos = [PlayerVideo("", "unlabelled", None), PlayerVideo("", "unlabelled", b""), PlayerVideo("", "decoded", b"")]
    player = Player("it", 10, 2, player_videos, {}, {"latent distance": [heat, heat]})
    assert [player.is_heated(index) for index in range(3)] == [False, True, False]
    assert player.has_heat


@pytest.mark.parametrize(("tokens", "size"), [(1, 0), (4, 2), (6, 0), (196, 14)])
def test_only_square_grids_of_tokens_are_drawn(tokens, size):
    assert HeatMap([0.0], np.zeros((1, tokens))).grid_size == size


def test_an_equal_median_and_best_is_shown_once():
    trials = [Trial(f"g{i}", (), (), "shape") for i in range(2)]
    assert select_trials(trials, {0: 0.5}) == [(0, "smallest margin")]
    assert select_trials(trials, {0: 0.5, 1: -0.1}) == [(0, "best"), (1, "worst failure")]


def test_a_trial_opens_at_the_time_of_the_widest_gap(page):
    lines = [([0.0, 0.5, 1.0], values) for values in ([1.0, 1.0, 5.0], [1.0, 4.0, 6.0], [1.0, 2.0, 1.5], [2.0, 3.0, 6.0])]
    assert time_of_widest_gap([True, False, False, True], lines) == 0.5  # 3 above 2; the highest value comes later
    assert time_of_widest_gap([True, True], lines[:2]) == 0.0
    assert page.data[0]["start"] >= 15  # impossible videos are more surprising from there on


def test_of_very_many_properties_each_keeps_its_median():
    trials = [Trial(f"g{i}", (), (), f"p{i % 20}") for i in range(60)]
    found = select_trials(trials, {i: float(i) for i in range(60)})
    assert len(found) == 30
    assert sum(why == "median" for _, why in found) == 20


def test_videos_are_h264_that_browsers_play_and_keep_their_shape(evaluation, tmp_path):
    video = Video("f", str(evaluation / "au.mp4"), 12.0, 20, True, start_frame=4)
    (tmp_path / "it.mp4").write_bytes(trial_video_mp4(video, "resize"))
    with av.open(tmp_path / "it.mp4") as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.height, stream.width, float(stream.average_rate)) == (32, 48, 12.0)
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(frames) == 20
    green = frames[0][15, :, 1]
    assert (green > 105).nonzero()[0].min() == 4  # begins after the priming part


def test_large_videos_are_scaled_down(tmp_path):
    (tmp_path / "large.mp4").write_bytes(mp4_bytes(np.zeros((3, 400, 600, 3), np.uint8), 60.0))
    (tmp_path / "small.mp4").write_bytes(trial_video_mp4(Video("f", str(tmp_path / "large.mp4"), 60.0, 3, True), "resize"))
    with av.open(tmp_path / "small.mp4") as file:
        assert (file.streams.video[0].height, file.streams.video[0].width) == (256, 384)
        assert sum(1 for _ in file.decode(video=0)) == 2  # 3 frames at 60 frames/s, shown at 30


def test_a_video_that_exceeds_its_byte_limit_is_scaled_down(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 160, 200, 3), dtype=np.uint8)
    (tmp_path / "it.mp4").write_bytes(mp4_bytes_within(noise, 10.0, 60_000))
    assert len(mp4_bytes(noise, 10.0)) > 60_000
    assert (tmp_path / "it.mp4").stat().st_size <= 60_000
    with av.open(tmp_path / "it.mp4") as file:
        height, width = file.streams.video[0].height, file.streams.video[0].width
        assert 64 <= height < 160
        assert width / height == pytest.approx(200 / 160, abs=0.03)
        assert sum(1 for _ in file.decode(video=0)) == 4
    (tmp_path / "least.mp4").write_bytes(mp4_bytes_within(noise, 10.0, 0))
    with av.open(tmp_path / "least.mp4") as file:
        assert file.streams.video[0].height == 64


SCORE = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 100, "p": 0.0001, "baselines": {}, "pixel_baselines": {}}


@pytest.mark.parametrize(
    ("change", "expected_text"),
    [
        ({"low": 0.45}, "no evidence that the model detects violations"),
        ({"value": 0.3, "low": 0.2, "high": 0.4}, "below chance"),
        ({"baselines": {"untrained": {"value": 0.78, "p": 0.3}}}, "not significantly above untrained"),
        ({"pixel_baselines": {"pixel copy": 0.85}}, "not significantly above pixel copy"),
        ({"baselines": {"untrained": {"value": 0.5, "p": 0.001}}}, "significantly above all 1 tested baselines (p < .01)"),
        ({}, "it was tested against no baseline"),
    ],
)
def test_the_verdict_claims_no_more_than_the_tests_support(change, expected_text):
    assert expected_text in verdict({**SCORE, **change})


def test_only_one_is_shown_as_100_and_only_zero_as_0():
    assert [percent(fraction) for fraction in (1.0, 0.9996, 0.5, 0.0004, 0.0, None)] == ["100", "99", "50", "1", "0", "–"]
    assert percent(0.9996, 1) == "99.9"
    assert [p_value(p) for p in (0.0001, 0.04, None)] == ["<\u2009.001", ".040", "–"]


def test_figures_share_no_ids_and_are_reproducible():
    def bins(value):
        return {"whitened": [{"from": x, "to": x + 1, "value": value, "low": 0.4, "high": 0.9, "n": 9} for x in range(3)]}

    first, again, other = (accuracy_curve(bins(value), "magnitude") for value in (0.6, 0.6, 0.7))
    ids = [set(re.findall(r' id="([^"]+)"', figure)) for figure in (first, other)]
    assert first == again
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', first))
    assert used <= ids[0]
    assert "var(--first)" in first  # in the colours of the page


def card(**changes) -> VideoCard:
    frames = np.zeros((6, 20, 30, 3), np.uint8)
    maps = {"latent distance": np.arange(24, dtype=np.float32).reshape(6, 4)}
    fields = {"title": "<u>a</u>.mp4", "frames": frames, "fps": 6.0, "times_s": [t / 6 for t in range(6)], "maps": maps}
    curves = {"latent distance": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0]}
    return VideoCard(**{**fields, "curves": curves, "numbers": {"plausibility": "12 % <of> videos"}, **changes})


def test_single_videos_have_a_page_with_curve_heat_map_and_numbers(tmp_path):
    levels = {"latent distance": [(3.0, "half <u>below</u>")]}
    cards = (card(**entry) for entry in ({"levels": levels}, {"maps": {}, "title": "second"}))  # one at a time
    path = write_video_page(tmp_path / "videos.html", "Surprise", "Two videos.", cards)
    page = Page(path.read_text(encoding="utf-8"))
    assert "<u>a</u>.mp4 plausibility 12 % <of> videos" in page.text()
    first, second = page.data
    (curve,) = first["curves"]
    assert (curve["name"], curve["levels"]) == ("latent distance", [[3.0, "half <u>below</u>"]])
    assert curve["lines"] == [[[0.0, 0.16667, 0.33333, 0.5, 0.66667, 0.83333], [1, 2, None, 4, 5, 6]]]
    assert curve["heats"][0]["grid_size"] == 2
    assert second["curves"][0]["heats"] == []
    assert base64.b64decode(second["videos"][0]["mp4"])[4:8] == b"ftyp"


def test_a_ranking_links_to_its_videos_and_names_those_that_failed(tmp_path):
    rows = [RankedVideo(1, "<u>a</u>.mp4", 0.9, 0.4, 1.25, 0.5, 1), RankedVideo(2, "b.mp4", 0.004, 0.0, 2.5, 1.5, None)]
    path = tmp_path / "videos.html"
    write_video_page(path, "Surprise", "", [card()], rows, "whitened surprise", {"<u>c</u>.mp4": "<b>truncated</b>"})
    page = Page(path.read_text(encoding="utf-8"))
    assert "<u>a</u>.mp4 1 90 40 1.25 0.50 s b.mp4 2 1 0 2.5 1.50 s" in page.text()
    assert "Not scored : 1 video. <u>c</u>.mp4 <b>truncated</b>" in page.text()
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == ["#video-1"]
    assert not [tag for tag, _ in page.tags if tag == "u"]


def test_a_missing_video_keeps_its_curve(tmp_path):
    page = Page(write_video_page(tmp_path / "videos.html", "Surprise", "", [card(frames=None)]).read_text(encoding="utf-8"))
    assert page.data[0]["videos"][0]["mp4"] is None
    assert page.data[0]["frames"] == 6
    assert "<u>a</u>.mp4 can no longer be read" in page.text()


@pytest.mark.parametrize(
    "changes", [{"curves": {"latent distance": [1.0, 2.0]}}, {"maps": {"latent distance": np.zeros((5, 4), np.float32)}}]
)
def test_values_that_do_not_fit_their_times_are_an_error(tmp_path, changes):
    with pytest.raises(ValueError, match="values for 6 times"):
        write_video_page(tmp_path / "videos.html", "Surprise", "", [card(**changes)])
    assert not (tmp_path / "videos.html").exists()
