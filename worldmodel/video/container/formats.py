"""Which file formats FFmpeg may read: containers and streams that consist of one file. No playlists, no devices.

FFmpeg recognises a file by its content, whatever its name is. A playlist named `a.mp4` would make it open the files and
addresses that the playlist names. All demuxers that open more than one file (hls, dash, concat, imf, image2, sdp, vobsub, mlv,
...) are missing from this list. Formats that later versions of FFmpeg add are not in it either.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

CONTAINERS = (
    "3g2 3gp apng asf asf_o avi dv flv gif gxf ivf kux live_flv lxf m4a m4v matroska mj2 mov mp4 mpeg mpegts mpegvideo mpjpeg "
    "mxf mxg nsv nut nuv ogg pva r3d rm roq swf ty vivo webm wtv yuv4mpegpipe"
)
STREAMS = "av1 avs2 avs3 cavsvideo dirac dnxhd evc h261 h263 h264 hevc mjpeg mjpeg_2000 obu vc1 vc1test vvc"
LEGACY = (  # formats of games and of early multimedia
    "4xm anm argo_brp bethsoftvid bfi bink bmv c93 cdg cdxl cine dfa dxa ea film_cpk filmstrip flic frm hnm idcin ifv "
    "ipmovie jv lmlm4 lvf mm moflex mods mtv mv pmp psxstr sga siff simbiosis_imx smjpeg smk smush thp tiertexseq tmv vmd "
    "wc3movie xmv yop"
)
IMAGES = "bmp_pipe j2k_pipe jpeg_pipe jpegxl_anim jpegxl_pipe png_pipe ppm_pipe tiff_pipe webp_pipe"
SOUND = "aac ac3 aiff amr ape caf eac3 flac mp3 tta w64 wav wv"  # to distinguish audio files from unknown files
READ = ",".join(f"{CONTAINERS} {STREAMS} {LEGACY} {IMAGES} {SOUND}".split())

_PLAYLISTS = {  # kind -> pattern of the first bytes after white space
    "HLS": rb"#EXTM3U",
    "FFmpeg's concat": rb"ffconcat|file\s+\S",
    "DASH": rb"(?s)<[?!]?\w.*<MPD[\s>]|<MPD[\s>]",
    "IMF": rb"(?s)<[?!]?\w.*<(\w+:)?(CompositionPlaylist|AssetMap)[\s>]",
    "SMIL": rb"(?s)(<[?!]?\w.*)?<smil[\s>]",
    "ASX": rb"(?i)<asx[\s>]|\[reference\]",
    "PLS": rb"(?i)\[playlist\]",
    "SDP": rb"v=0\s*[\r\n]",
    "VobSub": rb"# VobSub",
}


def open_options(protocols: str) -> dict[str, str]:
    """FFmpeg's options for opening a file: no other formats, no other protocols, no tracks stored in other files."""
    closed = {"enable_drefs": "0", "use_absolute_path": "0"}  # MOV files may refer to other files
    return {"format_whitelist": READ, "protocol_whitelist": protocols, **closed}


def playlist_kind(head: bytes) -> str | None:
    """The kind of playlist that a file with these first bytes is, or None."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for kind, pattern in _PLAYLISTS.items() if re.match(pattern, text)), None)


def is_pattern(path: Path | str) -> bool:
    """Whether FFmpeg may interpret a file name as a pattern for several images, such as `a%03d.png`."""
    return any(character in os.fspath(path) for character in "%*?[]{}")
