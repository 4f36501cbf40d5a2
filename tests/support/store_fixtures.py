"""Fixtures of tests that read or write object storage."""

import pytest
from object_server import serve_objects

from worldmodel.storage import objects, store


@pytest.fixture
def server(monkeypatch, tmp_path):
    """An S3 server of this process, with credentials that must not be seen anywhere, and an empty cache."""
    pytest.importorskip("obstore")
    monkeypatch.setattr(store, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(store, "PART_RETRIES", 0)
    with serve_objects() as server:
        use_store(monkeypatch, server.port, tmp_path / "cache")
        forget()
        yield server
    forget()


def use_store(monkeypatch, port, cache):
    """Let this process, and those that it starts, use the store at a port of this machine, and a folder as cache."""
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIASECRETID",
        "AWS_SECRET_ACCESS_KEY": "verysecretkey",
        "AWS_REGION": "us-east-1",
        "WORLDMODEL_CACHE_DIR": str(cache),
    }.items():
        monkeypatch.setenv(name, value)


def forget():
    """What this process remembers of stores, so that it is like a new one."""
    for function in (store.version_of, store._store, objects._index):
        function.cache_clear()
    store._last_read.clear()


@pytest.fixture
def new_process():
    return forget
