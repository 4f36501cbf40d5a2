"""Requests, faults and a training against a real server of the S3 protocol, moto.

Skipped unless moto is installed (`pip install -e ".[moto]"`), or `moto_server` of another environment is on the PATH.
"""

import pytest
from fault_proxy import fault_proxy
from made_training import losses, run_training, write_clips_with_actions, write_recipe
from moto_store import HAS_MOTO, moto_server
from store_fixtures import use_store

from data_prep.__main__ import main as prepare
from worldmodel import load_model
from worldmodel.storage import store
from worldmodel.storage.errors import StorageError
from worldmodel.storage.object_lock import lock_url
from worldmodel.storage.store import read_range, version_of
from worldmodel.storage.transfer import delete, download, list_objects, read_whole, upload, write_if

pytestmark = [
    pytest.mark.skipif(not HAS_MOTO, reason='moto is not installed: pip install -e ".[moto]"'),
    pytest.mark.slow,
]
BUCKET = "s3://bucket"


@pytest.fixture(scope="module")
def moto():
    """The port of a server with an empty bucket."""
    with moto_server() as port:
        yield port


@pytest.fixture
def proxy(moto, monkeypatch, tmp_path, new_process):
    pytest.importorskip("obstore")
    monkeypatch.setattr(store, "FIRST_DELAY_S", 0.001)
    with fault_proxy(moto) as found:
        use_store(monkeypatch, found.port, tmp_path / "cache")
        new_process()
        yield found
        found.faults.clear()
        delete([f"{BUCKET}/{name}" for name in list_objects(BUCKET)])
    new_process()


def test_writing_reading_listing_and_conditions(proxy, tmp_path):
    content = bytes(range(256)) * (13 << 12)  # 13 MiB: an upload in several parts
    (tmp_path / "large").write_bytes(content)
    proxy.faults += [503, "drop"]
    upload(tmp_path / "large", f"{BUCKET}/a/large")
    proxy.faults += ["drop", 500, "truncate"]
    download(f"{BUCKET}/a/large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    proxy.faults += ["lost"]
    first = write_if(f"{BUCKET}/a/small", b"first", None)
    assert first is not None
    assert write_if(f"{BUCKET}/a/small", b"second", None) is None
    second = write_if(f"{BUCKET}/a/small", b"second", first)
    assert second is not None
    assert write_if(f"{BUCKET}/a/small", b"third", first) is None
    assert read_whole(f"{BUCKET}/a/small")[0] == b"second"
    assert list_objects(f"{BUCKET}/a") == {"large": len(content), "small": 6}
    with lock_url(f"{BUCKET}/a", "") as lock:
        lock.refresh()
        lock.check()
        assert lock.count == 1
    delete([f"{BUCKET}/a/small"])
    assert list_objects(f"{BUCKET}/a") == {"large": len(content)}


@pytest.mark.parametrize("fault", [503, 500, "drop", "truncate", "slow"])
def test_a_fault_that_passes_is_not_seen(proxy, fault, monkeypatch):
    monkeypatch.setattr(store, "TIMEOUT_S", 0.5)
    upload(b"content", f"{BUCKET}/x")
    found = version_of(f"{BUCKET}/x")
    proxy.faults += [fault, fault]
    assert read_range(found, 1, 4) == b"ont"
    assert not proxy.faults


def test_expired_credentials_and_changed_objects_are_told(proxy):
    upload(b"content", f"{BUCKET}/x")
    found = version_of(f"{BUCKET}/x")
    proxy.faults += [403] * 5
    with pytest.raises(StorageError, match=r"refuses access .*ExpiredToken") as raised:
        read_range(found, 0, 3)
    assert raised.value.unreachable
    proxy.faults.clear()
    upload(b"other!!", f"{BUCKET}/x")
    with pytest.raises(StorageError, match="the object was changed"):
        read_range(found, 0, 3)
    with pytest.raises(StorageError, match="no such object"):
        version_of(f"{BUCKET}/missing")


def test_a_training_from_shards_with_its_run_at_a_url(proxy, tmp_path, new_process):
    manifest = write_clips_with_actions(tmp_path, 10)
    recipe = write_recipe(tmp_path, manifest)
    assert run_training(recipe, f"run={tmp_path / 'files'}") == 0
    proxy.faults += [503, "drop"]
    assert prepare(["shard", str(manifest), "--out", f"{BUCKET}/set", "--shard-mb", "0.3", "--workers", "1"]) == 0
    new_process()
    proxy.faults += [503, "drop", "truncate", "lost", 500]
    shards, run = f"data.manifest={BUCKET}/set/manifest.parquet", tmp_path / "url"
    assert run_training(recipe, f"run={run}", f"upload_to={BUCKET}/run", shards, "data.workers=2") == 0
    assert losses(run) == losses(tmp_path / "files")
    assert load_model(f"{BUCKET}/run")[0].size_px == 32
