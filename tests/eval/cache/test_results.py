"""Cached results are used again for equal inputs only."""

from pathlib import Path

import pytest

from eval.cache.results import ResultCache


def never() -> dict:
    raise AssertionError("it was answered before")


def test_a_result_is_used_again_for_equal_inputs_only(tmp_path: Path):
    answer = {"value": 0.1, "n": 3, "low": None, "notes": ["a"]}
    assert ResultCache.for_inputs(tmp_path, {"weights": "a"}).get_or_compute("colour, linear/../x", lambda: answer) == answer
    assert ResultCache.for_inputs(tmp_path, {"weights": "a"}).get_or_compute("colour, linear/../x", never) == answer
    assert list(tmp_path.iterdir()) == [tmp_path / "answers"]  # any character in a name
    with pytest.raises(AssertionError, match="before"):
        ResultCache.for_inputs(tmp_path, {"weights": "b"}).get_or_compute("colour, linear/../x", never)
    ResultCache.for_inputs(tmp_path, {"weights": "a"}).clear()
    assert list(tmp_path.iterdir()) == []
    ResultCache.for_inputs(tmp_path, {"weights": "a"}).clear()  # nothing was stored


def test_changed_code_computes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ResultCache.for_inputs(tmp_path, {}).get_or_compute("a", lambda: 1)
    monkeypatch.setattr("eval.cache.results.source_digest", lambda: "edited")
    assert ResultCache.for_inputs(tmp_path, {}).get_or_compute("a", lambda: 2) == 2
