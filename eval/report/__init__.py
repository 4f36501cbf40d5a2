"""HTML pages that open offline: the report of a VoE evaluation, and single videos with their surprise."""

from eval.report.page import write_report
from eval.report.quadruplets import shown_trials
from eval.report.video_page import DecodedVideos, RankedVideo, VideoCard, write_video_page

__all__ = ["DecodedVideos", "RankedVideo", "VideoCard", "shown_trials", "write_report", "write_video_page"]
