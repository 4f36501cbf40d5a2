"""Answers that are kept: used again for the same question, and for no other."""

from pathlib import Path

import pytest

from eval.cache.results import Kept


def never() -> dict:
    raise AssertionError("it was answered before")


def test_an_answer_is_used_again_for_the_same_question_alone(tmp_path: Path):
    answer = {"value": 0.1, "n": 3, "low": None, "notes": ["a"]}
    assert Kept.of(tmp_path, {"weights": "a"}).get("colour, linear/../x", lambda: answer) == answer
    assert Kept.of(tmp_path, {"weights": "a"}).get("colour, linear/../x", never) == answer
    assert list(tmp_path.iterdir()) == [tmp_path / "answers"]  # whatever a name holds
    with pytest.raises(AssertionError, match="before"):
        Kept.of(tmp_path, {"weights": "b"}).get("colour, linear/../x", never)
    Kept.of(tmp_path, {"weights": "a"}).forget()
    assert list(tmp_path.iterdir()) == []
    Kept.of(tmp_path, {"weights": "a"}).forget()  # nothing was kept


def test_code_that_changed_answers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Kept.of(tmp_path, {}).get("a", lambda: 1)
    monkeypatch.setattr("eval.cache.results.code_digest", lambda: "edited")
    assert Kept.of(tmp_path, {}).get("a", lambda: 2) == 2
