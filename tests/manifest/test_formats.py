"""Manifests of all released formats can be read, and newer ones are refused with their format."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from worldmodel.manifest import FORMAT_VERSION, SCHEMA, Manifest, ManifestError

CORPUS = Path(__file__).resolve().parent.parent / "corpus" / "manifests"
DIGEST = "5e4fc40be9b2d17592db63bd348697b570520db14aadcde3c9965393929a0a0d"  # of the same six clips in all formats
TIMINGS = ["packets", "order", "frames", None, "packets", "packets"]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.parquet")), ids=lambda path: path.stem)
def test_manifests_of_earlier_versions_are_read(path: Path):
    manifest = Manifest.open(path)
    clips = [manifest.clip(row) for row in range(len(manifest))]
    assert (manifest.digest() == DIGEST) == ("crop" not in path.stem)  # other pixels are other samples
    assert manifest.metadata["config"] == {"val": 0.1}
    assert [clip.path for clip in clips[:2]] == [str(CORPUS / "clips" / f"ä {number}.mp4") for number in range(2)]
    assert (clips[5].path, clips[5].member, clips[5].start_s, clips[5].fps) == ("/data/5.tar", "a/b.mp4", 1.25, 29.97)
    assert [clip.split for clip in clips] == ["train", "train", "val", "test", "ood", "train"]
    assert [clip.timing for clip in clips] == ([None] * 6 if "without_timing" in path.stem else TIMINGS)
    tables = [str(CORPUS / "signals" / f"ä {number}.parquet") for number in range(2)]
    assert [clip.signals for clip in clips] == (
        [*tables, None, None, None, "/data/5.parquet"] if "signals" in path.stem or "crop" in path.stem else [None] * 6
    )
    crops = ["0 0.125 1 0.875", None, "0.25 0 0.75 1", None, None, None]
    assert [clip.crop for clip in clips] == (crops if "crop" in path.stem else [None] * 6)
    first_frames = [0, None, 8, None, None, 37]
    assert [clip.first_frame for clip in clips] == (first_frames if "first_frame" in path.stem else [None] * 6)


def test_the_corpus_holds_todays_format():
    schemas = [pq.read_schema(path) for path in CORPUS.glob(f"format{FORMAT_VERSION}_*.parquet")]
    assert any(schema.names == SCHEMA.names for schema in schemas)


def test_a_newer_format_is_refused_by_name(tmp_path: Path):
    """Also where its columns and metadata differ from those of this version."""
    table = pq.read_table(CORPUS / "format1_with_timing.parquet").drop_columns(["split", "fps"])
    metadata = {"format": FORMAT_VERSION + 1, "versions": {"worldmodel": "7.8.9"}, "config": []}
    pq.write_table(table.replace_schema_metadata({"worldmodel": json.dumps(metadata)}), tmp_path / "m.parquet")
    with pytest.raises(
        ManifestError, match=rf"made by version '7\.8\.9' .* format {FORMAT_VERSION + 1}; .* up to {FORMAT_VERSION}; update"
    ):
        Manifest.open(tmp_path / "m.parquet")


def test_a_manifest_that_another_program_rewrote_is_read(tmp_path: Path):
    """It has the metadata of the original, but no checksum."""
    table = pq.read_table(CORPUS / "format1_with_checksum.parquet")
    pq.write_table(table.slice(0, 3), tmp_path / "m.parquet")
    manifest = Manifest.open(tmp_path / "m.parquet")
    assert len(manifest) == 3
    assert manifest.digest() != DIGEST
    pq.write_table(table, tmp_path / "whole.parquet", compression="none", row_group_size=2)
    assert Manifest.open(tmp_path / "whole.parquet").digest() == DIGEST
