"""Which file formats FFmpeg may read: containers and streams that lie in one file. No playlists, no devices.

FFmpeg looks at the content to tell what a file is, whatever its name. A playlist named `a.mp4` would make it open the files and
addresses that the playlist names. All demuxers that open more than one file (hls, dash, concat, imf, image2, sdp, vobsub, mlv,
...) are missing from this list, and so is what a later FFmpeg adds.
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
GAMES = (  # and other formats of the last century
    "4xm anm argo_brp bethsoftvid bfi bink bmv c93 cdg cdxl cine dfa dxa ea film_cpk filmstrip flic frm hnm idcin ifv "
    "ipmovie jv lmlm4 lvf mm moflex mods mtv mv pmp psxstr sga siff simbiosis_imx smjpeg smk smush thp tiertexseq tmv vmd "
    "wc3movie xmv yop"
)
PICTURES = "bmp_pipe j2k_pipe jpeg_pipe jpegxl_anim jpegxl_pipe png_pipe ppm_pipe tiff_pipe webp_pipe"
SOUND = "aac ac3 aiff amr ape caf eac3 flac mp3 tta w64 wav wv"  # files without pictures are told from unknown ones
READ = ",".join(f"{CONTAINERS} {STREAMS} {GAMES} {PICTURES} {SOUND}".split())

_PLAYLISTS = {  # by what they begin with, after spaces
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


def options(protocols: str) -> dict[str, str]:
    """FFmpeg's options for opening a file: no other format, no other protocol, no tracks that lie in other files."""
    closed = {"enable_drefs": "0", "use_absolute_path": "0"}  # of MOV, which may name other files
    return {"format_whitelist": READ, "protocol_whitelist": protocols, **closed}


def playlist(head: bytes) -> str | None:
    """The kind of playlist that begins with these bytes, or None."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for kind, pattern in _PLAYLISTS.items() if re.match(pattern, text)), None)


def is_pattern(path: Path | str) -> bool:
    """Whether FFmpeg may take a file's name for a pattern of several pictures, such as `a%03d.png`."""
    return any(sign in os.fspath(path) for sign in "%*?[]{}")
