"""Videos in and out: probe, read exactly chosen frames, write. Frames are uint8 [T, H, W, 3], RGB, as shown."""

from worldmodel.video.errors import VideoError
from worldmodel.video.inspection import VideoInfo, probe
from worldmodel.video.read import read_frames
from worldmodel.video.write import write_video

__all__ = ["VideoError", "VideoInfo", "probe", "read_frames", "write_video"]
