"""Read and write videos: inspect a file, read exactly the chosen frames, write. Frames are uint8 [T, H, W, 3], RGB, upright."""

from worldmodel.video.errors import VideoError
from worldmodel.video.inspection import VideoInfo, inspect_video
from worldmodel.video.read import read_frames
from worldmodel.video.write import write_video

__all__ = ["VideoError", "VideoInfo", "inspect_video", "read_frames", "write_video"]
