"""Specs of suites, paths in tables, all problems in one report, and lengths from headers."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.voe.suites import SUITES, open_suite
from eval.voe.suites.checked_files import MAX_SHOWN, file_below, path_below, raise_problems, read_rows
from eval.voe.suites.lengths import mp4_length, video_lengths
from eval.voe.trials import TrialError
from worldmodel.video import inspect_video, write_video


@pytest.mark.parametrize("spec", ["intphy:/tmp", "intphys2", "grasp:", ""])
def test_the_error_for_a_wrong_spec_lists_all_kinds(spec):
    with pytest.raises(TrialError, match="expected one of builtin:DIR, intphys:DIR"):
        open_suite(spec)


def test_the_error_for_a_misspelt_kind_names_the_nearest(tmp_path):
    with pytest.raises(TrialError, match="did you mean inflevel:DIR"):
        open_suite(f"inflvel:{tmp_path}")


def test_an_unknown_option_is_refused(tmp_path):
    with pytest.raises(TrialError, match=r"primming is no option of inflevel; it has priming"):
        open_suite(f"inflevel:{tmp_path}?primming=yes")
    with pytest.raises(TrialError, match="it has none"):
        open_suite(f"grasp:{tmp_path}?part=test")


@pytest.mark.parametrize("kind", SUITES)
def test_the_error_for_an_empty_or_missing_folder_names_the_source(tmp_path, kind):
    with pytest.raises(TrialError, match="no such folder") as gone:
        open_suite(f"{kind}:{tmp_path / 'gone'}")
    with pytest.raises(TrialError) as empty:
        open_suite(f"{kind}:{tmp_path}")
    assert all(SUITES[kind].SOURCE in str(error.value) for error in (gone, empty))


@pytest.mark.parametrize("name", ["../x.mp4", "a/../../x.mp4", "/etc/passwd", "a\\..\\..\\x.mp4", "", "x\0.mp4"])
def test_names_in_tables_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(TrialError, match="leads out of"):
        path_below(tmp_path / "a", name)
    problems: list[str] = []
    assert file_below(tmp_path, name, problems) is None
    assert len(problems) == 1


def test_two_dots_within_a_name_are_allowed(tmp_path):
    assert path_below(tmp_path, "a/b..c.mp4") == tmp_path / "a/b..c.mp4"


def test_the_first_problems_are_shown_and_the_others_counted(tmp_path):
    with pytest.raises(TrialError) as caught:
        raise_problems(tmp_path, [f"video {n}" for n in range(MAX_SHOWN + 7)], "a shop")
    lines = str(caught.value).splitlines()
    assert "27 problems" in lines[0]
    assert [line.strip() for line in lines[1:-1]] == [*(f"video {n}" for n in range(MAX_SHOWN)), "and 7 more"]
    assert lines[-1] == "The data come from a shop"
    raise_problems(tmp_path, [], "a shop")


def test_errors_of_tables_name_the_problem(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("name,type\nx\n")
    with pytest.raises(TrialError, match="no column label; there are name, type"):
        read_rows(table, ["name", "label"])
    with pytest.raises(TrialError, match="line 2 ends before column type"):
        read_rows(table, ["name", "type"])
    table.write_bytes(b"name\n\xff\xfe\n")
    with pytest.raises(TrialError, match="UTF-8"):
        read_rows(table, ["name"])
    table.write_text("\ufeffname,type\nx,y\n", encoding="utf-8")  # as spreadsheets write it
    assert [dict(row) for row in read_rows(table, ["name", "type"])] == [{"name": "x", "type": "y"}]


# --- lengths -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fps", "frames", "lossless"), [(50.0, 11, False), (30000 / 1001, 30, False), (12.0, 24, True), (60.0, 1, False)]
)
def test_a_header_agrees_with_counted_packets(tmp_path, fps, frames, lossless):
    path = tmp_path / "video.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8), fps, lossless=lossless)
    info, stated = inspect_video(path), mp4_length(path)
    assert stated is not None
    assert stated[1] == info.frames == frames
    assert stated[0] == pytest.approx(info.fps, rel=1e-9)


def test_b_frames_and_mpeg4_do_not_mislead_the_header(tmp_path, make_video, numbered):
    for name, codec, options in (("b.mp4", "libx264", {"bf": 3, "g": 12}), ("m.mp4", "mpeg4", {})):
        path = make_video(tmp_path / name, numbered(25), fps=50.0, codec=codec, **options)
        assert mp4_length(path) == (50.0, 25)
        assert (inspect_video(path).fps, inspect_video(path).frames) == (50.0, 25)


def test_videos_whose_header_does_not_suffice_are_inspected(tmp_path, make_video, numbered, make_small_video):
    uneven = make_video(tmp_path / "uneven.mp4", numbered(6), ticks=[0, 10, 30, 40, 90, 100], clock_hz=100)
    mkv = make_video(tmp_path / "video.mkv", numbered(9), fps=10.0)
    assert mp4_length(uneven) is None
    assert mp4_length(mkv) is None
    found, problems = video_lengths([uneven, mkv])
    assert problems == []
    assert found[mkv] == (10.0, 9)
    assert found[uneven] == (inspect_video(uneven).fps, 6)


def test_broken_files_are_named_and_the_others_read(tmp_path, make_small_video):
    whole = make_small_video(tmp_path / "whole.mp4", frames=7)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-100])
    text = tmp_path / "text.mp4"
    text.write_text("404 not found")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    found, problems = video_lengths([whole, cut, text, empty, tmp_path / "gone.mp4"])
    assert found == {whole: (10.0, 7)}
    assert len(problems) == 4
    assert all(any(name in problem for problem in problems) for name in ("cut", "text", "empty", "gone"))


def test_random_damage_to_a_header_never_raises(tmp_path, make_small_video):
    whole = make_small_video(tmp_path / "whole.mp4", frames=7).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.mp4"
    for _ in range(200):
        data = bytearray(whole)
        for index in rng.integers(0, len(data), 8):
            data[index] = rng.integers(0, 256)
        path.write_bytes(data)
        stated = mp4_length(path)
        assert stated is None or stated[1] > 0


def test_trials_do_not_depend_on_where_the_folder_lies(tmp_path, make_small_video):
    for test in ("Gravity", "Collision"):
        for prefix in ("P", "IP"):
            make_small_video(tmp_path / "one" / f"{prefix}_{test}" / "000.mp4")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    one, other = (open_suite(f"grasp:{tmp_path / name}") for name in ("one", "other"))
    assert one.hash == other.hash
    shutil.rmtree(tmp_path / "other" / "P_Gravity")
    shutil.rmtree(tmp_path / "other" / "IP_Gravity")
    assert open_suite(f"grasp:{tmp_path / 'other'}").hash != one.hash


def test_readers_of_layouts_unpickle_nothing():
    folder = Path(sys.modules["eval.voe.suites"].__file__).parent
    for file in folder.glob("*.py"):
        assert "pickle" not in file.read_text(encoding="utf-8")
