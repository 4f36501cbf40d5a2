"""A file with the name of a video that refers to other files: none of them is opened.

The neighbour is a named pipe. A process that opens it to read waits for a writer, so the test can detect that.
"""

import errno
import os
import struct
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from worldmodel.video import VideoError, inspect_video, read_frames

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="named pipes are files on Unix alone")

DASH = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"
profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1"
bandwidth="1"><BaseURL>{pipe}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
IMF = """<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>urn:uuid:1</Id>
<SegmentList/></CompositionPlaylist>"""
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{pipe}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "HLS": HLS,
    "HLS after a byte order mark": "\ufeff" + HLS,
    "HLS with a key": HLS.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="{pipe}"\n#EXTINF'),
    "HLS with a map": HLS.replace("#EXTINF", '#EXT-X-MAP:URI="{pipe}"\n#EXTINF'),
    "HLS with an address": HLS.replace("{pipe}", "file:{pipe}"),
    "HLS with crypto": HLS.replace("{pipe}", "crypto:{pipe}"),
    "HLS with concat": HLS.replace("{pipe}", "concat:{pipe}|{pipe}"),
    "HLS with a stretch": HLS.replace("{pipe}", "subfile,,start,0,end,9,,:{pipe}"),
    "a master playlist": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{pipe}\n",
    "concat": "ffconcat version 1.0\nfile '{pipe}'\n",
    "concat without a head": "file '{pipe}'\n",
    "DASH": DASH,
    "IMF": IMF,
    "SDP": SDP,
    "SMIL": '<smil><body><video src="{pipe}"/></body></smil>',
    "ASX": '<asx version="3.0"><entry><ref href="{pipe}"/></entry></asx>',
    "references of ASF": "[Reference]\nRef1={pipe}\n",
    "PLS": "[playlist]\nFile1={pipe}\nNumberOfEntries=1\n",
    "VobSub": "# VobSub index file, v7 (do not modify this line!)\nid: en\ntimestamp: 00:00:01:000, filepos: 000000000\n",
}


@contextmanager
def watched(pipe: Path) -> Iterator[list[str]]:
    """The list is no longer empty once a process has opened the pipe to read."""
    opened: list[str] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            try:
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))  # ENXIO while no process reads
                opened.append(str(pipe))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield opened
    finally:
        ended.set()
        watcher.join()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "neighbour.mp4")
    return tmp_path / "neighbour.mp4"


def reasons(path: Path, member: str | None = None) -> set[str]:
    """Why a file cannot be inspected, nor read by either backend."""
    found = set()
    for read in (
        lambda: inspect_video(path, member),
        lambda: read_frames(path, indices=[0], member=member),
        lambda: read_frames(path, indices=[0], member=member, backend="decord"),
    ):
        with pytest.raises(VideoError) as caught:
            read()
        found.add(caught.value.reason)
    return found


def test_the_pipe_shows_that_it_was_opened(tmp_path: Path, pipe: Path):
    """Otherwise all other tests would prove nothing."""
    (tmp_path / "a.mp4").write_text(PLAYLISTS["concat"].format(pipe=pipe.name))
    with watched(pipe) as opened, pytest.raises((av.error.FFmpegError, OSError)):
        av.open(str(tmp_path / "a.mp4"), format="concat")
    assert opened


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".m3u8", ".idx"])
def test_a_playlist_is_refused_and_the_files_it_names_are_not_opened(tmp_path: Path, pipe: Path, kind: str, suffix: str):
    os.mkfifo(tmp_path / "a.sub")  # FFmpeg opens it beside a VobSub index
    for attempt, name in enumerate((pipe.name, str(pipe))):
        path = tmp_path / f"a{attempt or ''}{suffix}"
        path.write_text(PLAYLISTS[kind].format(pipe=name), encoding="utf-8")
        with watched(pipe) as opened, watched(tmp_path / "a.sub") as sub:
            found = reasons(path)
        assert (opened, sub, found) == ([], [], {"playlist"})


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_in_a_tar_is_refused_as_well(tmp_path: Path, pipe: Path, kind: str):
    (tmp_path / "a.mp4").write_text(PLAYLISTS[kind].format(pipe=pipe), encoding="utf-8")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "a.mp4", arcname="a.mp4")
    with watched(pipe) as opened:
        found = reasons(tmp_path / "shard.tar", "a.mp4")
    assert (opened, found) == ([], {"playlist"})


@pytest.mark.parametrize("name", ["a%03d.png", "a%d.jpg", "a*.png", "a[0-9].bmp", "a%03d.mp4"])
def test_a_pattern_in_a_file_name_has_no_meaning(tmp_path: Path, make_video, numbered, name: str):
    """FFmpeg would open the pictures that match the pattern."""
    make_video(tmp_path / "video.mp4", numbered(4))
    (tmp_path / "video.mp4").rename(tmp_path / name)
    for number in (name.replace("%03d", "001"), name.replace("%d", "1"), "a1.png", "a1.bmp"):
        if number != name:
            os.mkfifo(tmp_path / number) if not (tmp_path / number).exists() else None
    with watched(tmp_path / "a1.png") as opened:
        assert inspect_video(tmp_path / name).frames == 4
    assert opened == []


@pytest.mark.parametrize(
    "name", ["http:x.mp4", "file:x.mp4", "concat:x.mp4|y.mp4", "subfile,,start,0,end,9,,:x.mp4", "crypto:x.mp4"]
)
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_protocol_in_a_file_name_has_no_meaning(
    tmp_path: Path, make_video, numbered, number_of, monkeypatch, name: str, backend: str
):
    make_video(tmp_path / "video.mp4", numbered(4, first=5))
    (tmp_path / "video.mp4").rename(tmp_path / name)
    make_video(tmp_path / "x.mp4", numbered(4, first=50))
    monkeypatch.chdir(tmp_path)
    assert number_of(read_frames(name, indices=[0], backend=backend)[0]) == 5


@pytest.mark.parametrize("kind", [b"url ", b"alis"])
def test_a_mov_file_with_a_track_in_another_file_does_not_open_it(
    tmp_path: Path, pipe: Path, make_video, numbered, kind: bytes
):
    path = make_video(tmp_path / "a.mov", numbered(4))
    content = path.read_bytes()
    at = content.index(b"url ", content.index(b"dref")) - 4
    size = struct.unpack(">I", content[at : at + 4])[0]
    name = pipe.name.encode() if kind == b"url " else b"\0" * 150
    entry = kind + b"\0\0\0\0" + name + b"\0"  # flags 0: the data are not in this file
    entry = struct.pack(">I", len(entry) + 4) + entry
    content = _grown(content, at, size, entry)
    path.write_bytes(content)
    with watched(pipe) as opened:
        try:
            frames = read_frames(path, indices=[0])
        except VideoError:
            frames = np.zeros(0)
    assert opened == []
    assert frames.size in (0, 48 * 64 * 3)


def _grown(content: bytes, at: int, size: int, entry: bytes) -> bytes:
    """Replace the entry of the data references, and enlarge the boxes around it."""
    more = len(entry) - size
    data = bytearray(content[:at] + entry + content[at + size :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = content.index(box) - 4
        data[start : start + 4] = struct.pack(">I", struct.unpack(">I", content[start : start + 4])[0] + more)
    return bytes(data)
