"""Copies of folders in object storage."""

import pytest

from worldmodel.storage.errors import StorageError
from worldmodel.storage.folder_copy import copy_of_folder

URL = "s3://bucket/suite"


def gets(server):
    return sorted(request.split()[1] for request in server.requests if request.startswith("GET") and "list-type" not in request)


def test_only_what_has_changed_is_downloaded_again(server):
    server.objects |= {
        "/bucket/suite/a": b"first",
        "/bucket/suite/b/c": b"second",
        "/bucket/suite/c:x": b"outside",
    }
    folder = copy_of_folder(f"{URL}/")
    assert folder.name == "suite"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {"a", "b/c"}
    server.requests.clear()
    assert copy_of_folder(URL) == folder
    assert gets(server) == []
    server.objects["/bucket/suite/a"] = b"other"  # of the same size
    del server.objects["/bucket/suite/b/c"]
    server.objects["/bucket/suite/d"] = b""
    assert copy_of_folder(URL) == folder
    assert gets(server) == ["/bucket/suite/a"]
    assert (folder / "a").read_bytes() == b"other"
    assert not (folder / "b" / "c").exists()
    assert (folder / "d").read_bytes() == b""


def test_a_copy_that_is_interrupted_keeps_what_it_has(server):
    server.objects |= {"/bucket/suite/a": b"first", "/bucket/suite/b": b"second"}
    server.always["suite/b"] = 403
    with pytest.raises(StorageError, match=r"s3://bucket/suite/b.*refuses access"):
        copy_of_folder(URL)
    server.always.clear()
    server.requests.clear()
    folder = copy_of_folder(URL)
    assert gets(server) == ["/bucket/suite/b"]
    assert (folder / "b").read_bytes() == b"second"


def test_an_object_that_no_url_can_name_is_told(server):
    server.objects["/bucket/suite/../x"] = b""
    with pytest.raises(StorageError, match=r"suite/\.\./x.*rename it"):
        copy_of_folder(URL)


def test_a_folder_without_objects_is_told(server):
    with pytest.raises(StorageError, match="there are no objects below this URL"):
        copy_of_folder("s3://bucket/nothing")


def test_markers_of_folders_are_not_copied(server):
    server.objects |= {f"/bucket/suite/{name}": b"" for name in ("", "b/", "empty/")}
    server.objects |= {"/bucket/suite/b/c": b"second"}
    folder = copy_of_folder(URL)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == ["b/c"]
