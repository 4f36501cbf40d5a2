"""Damaged manifests: a flipped bit is an error, and only ManifestError is raised."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from worldmodel.manifest import Clip, Manifest, ManifestError, write_manifest
from worldmodel.manifest.checksum import END, START

CORPUS = Path(__file__).resolve().parent.parent / "corpus" / "manifests"


def small(path: Path, rows: int = 40) -> bytes:
    facts = (30.0, 60, 64, 48, 0, "h264", "train", None, None, "test")
    clips = (Clip(f"{n:016x}", f"/data/{n}.mp4", None, 0.25 * n, 0.25 * n + 2, *facts, f"{n}") for n in range(rows))
    write_manifest(path, clips, command="test", config={"a": 1})
    return path.read_bytes()


def test_every_flipped_bit_is_an_error(tmp_path: Path):
    """Tested at 600 positions of the file, in the whole checksum and in the last bytes."""
    content = small(tmp_path / "m.parquet")
    checksum = range(content.index(START), content.index(END) + len(END))
    spread = np.linspace(0, len(content) - 1, 600).astype(int).tolist()
    offsets = {*spread, *checksum, *range(len(content) - 16, len(content))}
    silent, messages = [], []
    for offset in sorted(offsets):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << (offset % 8)
        (tmp_path / "m.parquet").write_bytes(damaged)
        try:
            Manifest.open(tmp_path / "m.parquet")
            silent.append(offset)
        except ManifestError as error:
            messages.append(str(error))
    assert silent == []
    assert all("m.parquet: " in message for message in messages)


def test_pages_have_their_own_checksums(tmp_path: Path):
    """They protect data that is read after the file was opened. Here a byte of a page changes after that."""
    content = small(tmp_path / "m.parquet", rows=5000)
    manifest = Manifest.open(tmp_path / "m.parquet")
    column = pq.read_metadata(tmp_path / "m.parquet").row_group(0).column(1)
    damaged = bytearray(content)
    damaged[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    with open(tmp_path / "m.parquet", "r+b") as file:
        file.write(damaged)
    with pytest.raises(ManifestError, match=r"m\.parquet: damaged"):
        manifest.column("path")
    with pytest.raises(ManifestError, match=r"m\.parquet: damaged"):
        manifest.clip(7)


def test_other_programs_read_a_file_with_a_checksum(tmp_path: Path):
    small(tmp_path / "m.parquet")
    assert pq.read_table(tmp_path / "m.parquet")["path"].to_pylist() == [f"/data/{n}.mp4" for n in range(40)]


def test_the_stored_digest_is_the_one_of_the_rows(tmp_path: Path):
    small(tmp_path / "m.parquet")
    pq.write_table(pq.read_table(tmp_path / "m.parquet"), tmp_path / "copy.parquet")
    assert Manifest.open(tmp_path / "m.parquet").digest() == Manifest.open(tmp_path / "copy.parquet").digest()


def test_an_unreadable_file_is_a_manifest_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small(tmp_path / "m.parquet")

    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("worldmodel.manifest.table.verify_checksum", closed)
    with pytest.raises(ManifestError, match=r"m\.parquet: cannot be read: Permission denied"):
        Manifest.open(tmp_path / "m.parquet")


FUZZ = """
import random, sys
from pathlib import Path
import numpy as np
from worldmodel.data.windows import WindowSource
from worldmodel.manifest import Manifest, ManifestError
from worldmodel.data.window_config import WindowConfig

try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
except (ImportError, ValueError):
    pass
work, seed = Path(sys.argv[1]), random.Random(0)
errors = 0
for name, count in zip(sys.argv[2::2], map(int, sys.argv[3::2])):
    content = Path(name).read_bytes()
    for number in range(count):
        data, at, length = bytearray(content), seed.randrange(len(content)), seed.choice([1, 8, 64, 512])
        match number % 7:
            case 0: data[at] ^= 1 << seed.randrange(8)
            case 1: del data[at : at + length]
            case 2: del data[at:]
            case 3: data[at : at + length] = bytes(len(data[at : at + length]))
            case 4: data[at:at] = data[at : at + length]
            case 5: data[at:at] = seed.randbytes(length)
            case 6: data[-1 - seed.randrange(len(data) // 2)] ^= 1 << seed.randrange(8)  # in the footer, most often
        work.write_bytes(data)
        try:
            manifest = Manifest.open(work)
            len(repr([manifest.clip(row) for row in range(len(manifest))]))
            manifest.digest(), manifest.column("path"), manifest.rows("train")
            WindowSource(manifest, "train", WindowConfig(frames=4, fps=10)).windows_at(np.arange(2), np.zeros(2))
        except ManifestError:
            errors += 1
print(errors)
"""


def test_2_500_mutations_raise_only_manifest_errors(tmp_path: Path):
    """Runs in a separate process, to detect crashes of the Parquet reader. Old manifests have no checksum."""
    small(tmp_path / "m.parquet", rows=6)
    old = [str(CORPUS / f"format1_{name}.parquet") for name in ("without_timing", "with_timing")]
    files = [str(tmp_path / "m.parquet"), "1800", old[0], "350", old[1], "350"]
    done = subprocess.run([sys.executable, "-c", FUZZ, str(tmp_path / "f.parquet"), *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 2000
