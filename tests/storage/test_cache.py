"""The cache of blocks: blocks are fetched once, and those that were used least recently are removed."""

import os
import threading

import pytest

from worldmodel.storage import cache


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLDMODEL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_measured", False)


def test_threads_that_need_one_block_fetch_it_once():
    calls = []

    def fetch():
        calls.append(1)
        return b"12345"

    threads = [threading.Thread(target=cache.cached, args=("key", 5, fetch)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]
    assert cache.cached("key", 5, fetch).read_bytes() == b"12345"


def test_the_least_recently_used_blocks_are_removed_at_the_limit(monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE_GB", "0.00001")  # 10,000 bytes
    paths = [cache.cached(str(i), 1000, lambda: bytes(1000)) for i in range(9)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    cache.cached("0", 1000, lambda: bytes(1000))  # now the one that was used last
    for i in range(9, 12):
        cache.cached(str(i), 1000, lambda: bytes(1000))
    assert paths[0].exists()
    assert not any(path.exists() for path in paths[1:3])
    assert sum(file.stat().st_size for file in cache.cache_folder().glob("??/*")) <= 10_000


def test_a_block_of_another_size_is_fetched_again():
    cache.cached("key", 5, lambda: b"12345").write_bytes(b"123")
    assert cache.open_cached("key", 5, lambda: b"54321").read() == b"54321"


def test_a_limit_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE_GB", "20 GB")
    with pytest.raises(ValueError, match="WORLDMODEL_CACHE_GB is '20 GB'; expected a positive number"):
        cache.cache_limit_bytes()


def test_files_of_the_user_in_the_folder_of_the_cache_are_never_removed(monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE_GB", "0.00001")  # 10,000 bytes
    names = ("thesis/chapter.tex", "ab/notes.txt", f"ab/.{'0' * 64}.1-2@3.part", f"papers/{'0' * 64}")
    for name in names:
        file = cache.cache_folder() / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(5000))
        os.utime(file, (0, 0))
    blocks = [cache.cached(str(i), 1000, lambda: bytes(1000)) for i in range(20)]
    assert all((cache.cache_folder() / name).exists() for name in names)
    assert not all(block.exists() for block in blocks)


def test_a_temporary_folder_lies_in_the_cache_and_ends_with_its_block():
    with cache.temporary_folder() as first, cache.temporary_folder() as second:
        assert first != second
        assert cache.cache_folder() in first.parents
        (first / "a").mkdir()
        (first / "a" / "b").write_bytes(b"1")
        with cache.temporary_folder():
            assert second.exists()  # of this process, which runs
    assert not list((cache.cache_folder() / "unfinished").iterdir())


def test_what_a_killed_process_left_is_removed_and_what_is_being_made_counts_towards_the_limit(monkeypatch):
    monkeypatch.setenv("WORLDMODEL_CACHE_GB", "0.00001")  # 10,000 bytes
    blocks = [cache.cached(str(i), 1000, lambda: bytes(1000)) for i in range(8)]
    with cache.temporary_folder() as folder:
        number = f".{os.getpid()}-"
        killed = [folder.with_name(folder.name.replace(folder.name.split(".")[1], "0" * 32).replace(number, ".4194305-"))]
        for left in killed:
            left.mkdir()
            (left / "shard-000000.tar").write_bytes(bytes(9000))
        (folder / "shard-000000.tar").write_bytes(bytes(5000))
        monkeypatch.setattr(cache, "_measured", False)
        cache.cached("new", 1000, lambda: bytes(1000))
        assert not killed[0].exists()
        assert (folder / "shard-000000.tar").exists()
    assert 0 < sum(block.exists() for block in blocks) <= 4
