"""Captions say which run, which weights and which code."""

import subprocess

from eval import provenance as told


def test_a_caption_names_what_made_it():
    model = {"name": "demo", "spec": "runs/demo", "update": 2000, "hash": "0123456789abcdef"}
    assert told.named({"model": model, "commit": "4567cde"}) == "demo, update 2000, weights 01234567, commit 4567cde"
    assert told.named({"model": {**model, "update": None}, "commit": None}) == "demo, weights 01234567"


def test_the_commit_says_when_files_differ_from_it(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "provenance.py").write_text("one")
    monkeypatch.setattr(told, "__file__", str(tmp_path / "eval" / "provenance.py"))
    assert told.commit() is None  # no checkout: an installed copy
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = told.commit()
    assert clean is not None
    assert not clean.endswith("+")
    (tmp_path / "eval" / "provenance.py").write_text("two")
    assert told.commit() == clean + "+"
