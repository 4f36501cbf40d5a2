"""Transcoding of videos in object storage: an outage is told from a damaged file."""

import pytest

from data_prep.commands.transcode import _clips
from data_prep.errors import PrepError
from data_prep.pool import Failed
from data_prep.progress import bar
from data_prep.transcoding import copies
from data_prep.transcoding.copies import CopyJob, find_or_make_copy
from data_prep.transcoding.encode import TranscodeConfig
from worldmodel.storage.errors import StorageError

URL = "s3://bucket/a.mp4"


@pytest.mark.parametrize(("unreachable", "reason"), [(True, "storage"), (False, "unreadable file")])
def test_a_store_that_does_not_answer_is_no_fault_of_the_file(tmp_path, monkeypatch, unreachable, reason):
    def refused(path, member):
        raise StorageError(URL, "no answer", store="s3://bucket", unreachable=unreachable)

    monkeypatch.setattr(copies, "content_hash", refused)
    result = find_or_make_copy(CopyJob(URL, None, None, ()), tmp_path, TranscodeConfig(short_side_px=64, max_fps=10, gop=4))
    assert isinstance(result, Failed)
    assert result.reason == reason


def test_an_outage_ends_the_command_instead_of_rejecting_the_video(tmp_path):
    results = iter([(CopyJob(URL, None, None, ()), Failed("storage", "no answer"))])
    with bar("transcode", 1) as progress, pytest.raises(PrepError, match="give the same command again"):
        list(_clips(results, None, tmp_path, progress))
