"""Requests to object storage: every fault is retried or told, and names the object."""

import pickle

import pytest
from object_server import etag_of

from worldmodel.storage import store
from worldmodel.storage.errors import StorageError
from worldmodel.storage.objects import local_copy, open_object
from worldmodel.storage.shard_index import BLOCK_BYTES
from worldmodel.storage.store import read_range, version_of
from worldmodel.storage.transfer import upload
from worldmodel.storage.urls import UrlError, join_url, split_url, split_version, with_version

URL = "s3://bucket/a/b.bin"


@pytest.fixture
def content(server):
    server.objects["/bucket/a/b.bin"] = content = bytes(range(256)) * 16
    return content


@pytest.mark.parametrize("fault", [503, 500, 429, "drop", "truncate"])
def test_a_fault_that_passes_is_not_seen(server, content, fault):
    found = version_of(URL)
    server.faults += [fault, fault]
    assert read_range(found, 5, 1000) == content[5:1000]
    assert sum(request.startswith("GET") for request in server.requests) == 3


@pytest.mark.parametrize(("fault", "told"), [(503, "HTTP 503"), ("truncate", "broke off"), ("drop", "no connection")])
def test_a_store_that_never_answers_is_unreachable(server, content, fault, told):
    found = version_of(URL)
    server.always["bucket"] = fault
    with pytest.raises(StorageError, match=f"{URL}: .*{told}") as raised:
        read_range(found, 0, 100)
    assert raised.value.unreachable
    assert raised.value.store == "s3://bucket"
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_an_object_that_fails_while_others_answer_is_broken_alone(server, content):
    server.objects["/bucket/other"] = b"fine"
    found = version_of(URL)
    read_range(version_of("s3://bucket/other"), 0, 4)
    server.always["a/b.bin"] = 503
    with pytest.raises(StorageError, match=URL) as raised:
        read_range(found, 0, 100)
    assert not raised.value.unreachable


@pytest.mark.parametrize("status", [400, 403])
def test_expired_credentials_are_told_and_not_shown(server, content, status):
    found = version_of(URL)
    server.always["bucket"] = status
    with pytest.raises(StorageError, match=f"{URL}: the store refuses access .*ExpiredToken") as raised:
        read_range(found, 0, 100)
    assert raised.value.unreachable
    assert "SECRET" not in str(raised.value).upper().replace("ACCESS", "")


def test_a_slow_answer_is_given_up_and_asked_again(server, content, monkeypatch):
    monkeypatch.setattr(store, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(store, "ATTEMPTS", 2)
    found = version_of(URL)
    server.delay_s = 0.5
    with pytest.raises(StorageError, match="no connection, or no answer in time, in 2 attempts"):
        read_range(found, 0, 100)


def test_a_changed_object_is_an_error_and_not_other_bytes(server, content):
    found = version_of(URL)
    server.objects["/bucket/a/b.bin"] = content[::-1]
    with pytest.raises(StorageError, match=f"{URL}: the object was changed") as raised:
        read_range(found, 0, 100)
    assert not raised.value.unreachable


def test_a_missing_object_is_named(server):
    with pytest.raises(StorageError, match=f"{URL}: no such object"):
        version_of(URL)


def test_a_large_object_is_read_in_blocks_several_at_once(server):
    server.objects["/bucket/large"] = content = bytes(BLOCK_BYTES + 17)
    server.delay_s = 0.05
    assert local_copy("s3://bucket/large").stat().st_size == len(content)
    assert server.most_at_once > 1
    with open_object("s3://bucket/large", None) as file:
        file.seek(BLOCK_BYTES - 3)
        assert file.read(6) == bytes(6)
        assert file.seek(0, 2) == len(content)
        assert file.read(1) == b""


def test_an_upload_arrives_whole(server, tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    upload(tmp_path / "x", "s3://bucket/new/x")
    assert server.objects["/bucket/new/x"] == b"hello"


def test_files_on_a_web_server_and_on_the_hub_are_read(server, monkeypatch):
    server.objects["/some/clip"] = server.objects["/datasets/me/set/resolve/main/some/clip"] = b"bytes"
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.port}")
    for url in (f"http://127.0.0.1:{server.port}/some/clip", "hf://datasets/me/set/some/clip"):
        assert local_copy(url).read_bytes() == b"bytes"


def test_urls_hold_no_credentials():
    for url in ("https://me:key@host/a", "https://host/a?X-Amz-Signature=1"):
        with pytest.raises(UrlError, match="must not hold a user name"):
            split_url(url)


@pytest.mark.parametrize("path", ["../x.mp4", "/etc/x.mp4", "a/../../x.mp4", "C:\\x.mp4"])
def test_a_path_cannot_leave_the_folder_of_its_url(path):
    with pytest.raises(UrlError, match="leaves the folder s3://b/set"):
        join_url("s3://b/set", path)
    assert join_url("s3://b/set", "a/x.mp4") == "s3://b/set/a/x.mp4"


@pytest.mark.parametrize(
    ("etag", "version"),
    [('"9b2c"', "9b2c"), ('"9b/c-2+x="', "9b%2Fc-2%2Bx%3D"), ('W/"9b2c"', None), (None, None)],
)
def test_a_url_names_a_version_only_if_its_etag_means_equal_bytes(etag, version):
    url = with_version("s3://bucket/a b#1.mp4", etag)
    assert split_version(url) == ("s3://bucket/a b#1.mp4", version)
    assert split_url(url) == ("s3://bucket", "a b#1.mp4")


def test_another_version_than_the_url_names_is_never_read(server, new_process):
    server.objects["/bucket/a"] = b"first"
    url = with_version("s3://bucket/a", etag_of(b"first"))
    assert read_range(version_of(url), 0, 5) == b"first"
    server.objects["/bucket/a"] = b"other"
    with pytest.raises(StorageError, match="the object was changed"):
        read_range(version_of(url), 0, 5)
    new_process()
    with pytest.raises(StorageError, match=r"the object was changed since the manifest was written") as raised:
        version_of(url)
    assert raised.value.changed
    assert not raised.value.unreachable
