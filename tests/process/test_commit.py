"""Which code made a figure."""

import subprocess

from worldmodel.process import commit as told


def test_the_commit_says_when_files_differ_from_it(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "worldmodel" / "process").mkdir(parents=True)
    (tmp_path / "worldmodel" / "process" / "commit.py").write_text("one")
    monkeypatch.setattr(told, "__file__", str(tmp_path / "worldmodel" / "process" / "commit.py"))
    assert told.commit() is None  # no checkout: an installed copy
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = told.commit()
    assert clean is not None
    assert not clean.endswith("+")
    (tmp_path / "worldmodel" / "process" / "commit.py").write_text("two")
    assert told.commit() == clean + "+"
