"""How a suite divides its clips: no video lies in both pools."""

from data_prep.splicing.held_out import divide
from worldmodel.manifest import Clip


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
