"""Whole objects: conditional writes, lists, downloads and removal."""

import pytest

from worldmodel.storage import transfer
from worldmodel.storage.errors import StorageError
from worldmodel.storage.transfer import delete, download, list_objects, read_whole, upload, write_if

URL = "s3://bucket/run/x"


def test_of_two_processes_that_create_an_object_one_succeeds(server):
    first = write_if(URL, b"first", None)
    assert first is not None
    assert write_if(URL, b"second", None) is None
    assert read_whole(URL) == (b"first", first)


def test_an_object_is_replaced_only_if_it_is_the_version_that_was_read(server):
    first = write_if(URL, b"first", None)
    second = write_if(URL, b"second", first)
    assert second is not None
    assert write_if(URL, b"third", first) is None
    assert read_whole(URL)[0] == b"second"


def test_a_write_whose_answer_was_lost_counts_as_written(server):
    server.lost_answers = 1
    written = write_if(URL, b"first", None)
    assert written is not None
    assert write_if(URL, b"second", written) is not None


def test_a_folder_is_listed_by_relative_names(server, tmp_path):
    for name in ("run/a", "run/b/c", "runs/d", "other"):
        upload(name.encode(), f"s3://bucket/{name}")
    assert list_objects("s3://bucket/run") == {"a": 5, "b/c": 7}
    delete(["s3://bucket/run/a", "s3://bucket/run/missing"])
    assert list_objects("s3://bucket/run") == {"b/c": 7}


def test_markers_of_folders_are_no_objects(server):
    """Consoles make empty objects `folder/`. An empty object, and one beside a marker of its name, are objects."""
    markers = ("run/", "run/empty/", "run/b/", "run/b/c/", "run/both/")
    contents = {"run/b/c/d": b"1", "run/nothing": b"", "run/both": b"12"}
    server.objects |= {f"/bucket/{name}": content for name, content in {**dict.fromkeys(markers, b""), **contents}.items()}
    assert list_objects("s3://bucket/run") == list_objects("s3://bucket/run/") == {"b/c/d": 1, "nothing": 0, "both": 2}
    assert list_objects("s3://bucket/run/empty") == {}
    assert list_objects("s3://bucket") == {"run/b/c/d": 1, "run/nothing": 0, "run/both": 2}


def test_a_folder_of_full_objects_is_listed_by_one_request(server):
    server.objects |= {f"/bucket/run/{name}": b"1" for name in ("a", "b/c")}
    list_objects("s3://bucket/run")
    assert len(server.requests) == 1


def test_a_download_survives_faults_and_arrives_whole(server, tmp_path, monkeypatch):
    monkeypatch.setattr("worldmodel.storage.transfer._PART_BYTES", 1000)
    server.objects["/bucket/run/x"] = content = bytes(range(256)) * 20
    server.faults += [503, "drop", "truncate"]
    download(URL, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_folders_of_the_hub_are_not_listed_and_the_message_says_what_to_write(server):
    with pytest.raises(StorageError, match="hf:OWNER/NAME"):
        list_objects("hf://owner/name")


@pytest.mark.parametrize("replacements", [2, 9])
def test_a_download_begins_again_if_the_object_is_replaced_meanwhile_but_not_for_ever(
    server, tmp_path, monkeypatch, replacements
):
    server.objects["/bucket/run/x"] = b"row\n"
    left = [b"another row\n"] * replacements
    read = transfer.read_range

    def replace_then_read(*args):
        if left:
            server.objects["/bucket/run/x"] += left.pop()
        return read(*args)

    monkeypatch.setattr(transfer, "read_range", replace_then_read)
    if replacements == 9:
        with pytest.raises(StorageError, match="was changed while it was in use"):
            download(URL, tmp_path / "x")
        return
    download(URL, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == server.objects["/bucket/run/x"] == b"row\n" + b"another row\n" * 2


def test_an_upload_tells_how_far_a_file_was_read(server, tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(bytes(12 << 20))
    starts = []

    class Client:
        def put(self, store, key, file) -> None:
            while file.read(5 << 20):
                pass

    monkeypatch.setattr(transfer, "obstore", Client)
    monkeypatch.setattr(transfer, "retried", lambda url, put, writes: put(None, "x"))
    upload(tmp_path / "x", URL, starts.append)
    assert starts == [0, 5 << 20, 10 << 20, 12 << 20]
