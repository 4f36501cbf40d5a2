"""Names of files, objects and members of tars, and reading what they name."""

import tarfile

import pytest

from worldmodel.storage.errors import StorageError
from worldmodel.storage.members import member_name, read_named, split_member


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.npz", ("a.npz", None)),
        ("/x/a.tar::b/c.npz", ("/x/a.tar", "b/c.npz")),
        ("s3://bucket/a.tar::b.npz", ("s3://bucket/a.tar", "b.npz")),
        ("/x::y/a.npz", ("/x::y/a.npz", None)),
    ],
)
def test_a_name_is_taken_apart_and_put_together(name: str, parts: tuple[str, str | None]):
    assert split_member(name) == parts
    if parts[1] is not None:
        assert member_name(*parts) == name


def test_files_and_members_of_tars_are_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a", "below/a")
    assert read_named(str(tmp_path / "a"), 7) == b"content"
    assert read_named(f"{tmp_path}/a.tar::below/a", 7) == b"content"
    with pytest.raises(ValueError, match="it has 7 bytes; at most 6 are read"):
        read_named(f"{tmp_path}/a.tar::below/a", 6)
    for missing in ("b", "a.tar::b", "b.tar::a"):
        with pytest.raises(FileNotFoundError):
            read_named(str(tmp_path / missing), 7)


def test_of_a_store_only_silence_is_an_error_of_storage(server, new_process):
    server.objects["/bucket/a"] = b"content"
    assert read_named("s3://bucket/a", 7) == b"content"
    with pytest.raises(FileNotFoundError):
        read_named("s3://bucket/b", 7)
    new_process()
    server.always["bucket"] = 503
    with pytest.raises(StorageError, match="HTTP 503"):
        read_named("s3://bucket/a", 7)
