"""Which clips of a folder are held out, and how a suite divides them: no video lies in both pools."""

import pytest

from data_prep.errors import PrepError
from data_prep.parallel.workers import LocalWorkers
from data_prep.splicing.held_out import divide, held_out_clips
from tests.support.made_scenes import scene
from worldmodel.files.output_mark import mark_folder
from worldmodel.manifest import Clip
from worldmodel.video import write_video

WORKERS = LocalWorkers(1)


def clip(digest: str, start_s: float = 0.0) -> Clip:
    place = ("id", f"{digest}.mp4", None, start_s, start_s + 1)
    return Clip(*place, 10.0, 10, 32, 32, 0, "h264", "val", None, None, "test", digest)


def test_many_clips_of_few_videos_are_divided_in_time():
    clips = [clip(f"{video:064x}", float(start)) for video in range(3) for start in range(20)]
    pools = divide(clips, 0.1)
    assert len(pools.calibration) == len(pools.test) == 60


def test_videos_with_hashes_of_another_program_are_divided_without_overlap():
    clips = [clip(f"hash of {video}", float(start)) for video in range(40) for start in range(2)]
    pools = divide(clips, 0.1)
    test, calibration = ({one.content_hash for one in pool} for pool in (pools.test, pools.calibration))
    assert not test & calibration
    assert 4 <= len(calibration) <= 24
    assert len(test) + len(calibration) == 40


def test_short_clips_of_few_videos_are_divided_by_video():
    clips = [clip(f"{video:064x}", float(start)) for video in range(7) for start in range(2)]
    pools = divide(clips, 0.5)
    test, calibration = ({one.content_hash for one in pool} for pool in (pools.test, pools.calibration))
    assert not test & calibration
    assert (len(test), len(calibration)) == (5, 2)
    assert (len(pools.test), len(pools.calibration)) == (10, 4)
    assert not divide(clips[:10], 0.5).calibration  # five videos are too few


def test_a_folder_of_copies_is_refused_because_its_split_is_not_that_of_its_manifest(tmp_path):
    mark_folder(tmp_path, "python -m data_prep transcode")
    (tmp_path / "manifest.parquet").touch()
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "one.mp4", scene(12), 10.0)
    told = r"filled by `python -m data_prep transcode`.*give its manifest: .*manifest\.parquet"
    for folder in (tmp_path, tmp_path / "clips"):  # and a part of it
        with pytest.raises(PrepError, match=told):
            held_out_clips(folder, WORKERS)


def test_one_line_says_how_a_folder_is_split(tmp_path, capsys):
    write_video(tmp_path / "one.mp4", scene(12), 10.0)
    (found,) = held_out_clips(tmp_path, WORKERS)
    assert found.start_s > 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "split in time as `data_prep index` splits it by default, 1 held-out clips of 1 videos" in line


def test_a_folder_of_unreadable_videos_names_their_number_and_the_most_common_reason(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.mp4").write_bytes(b"no video")
    write_video(tmp_path / "short.mp4", scene(3), 10.0)
    with pytest.raises(PrepError, match=r"none of its 3 videos can be used; the most common reason is '.+' \(2\)"):
        held_out_clips(tmp_path, WORKERS)
