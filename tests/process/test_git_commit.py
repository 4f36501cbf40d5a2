"""The commit of the source code."""

import subprocess

from worldmodel.process import git_commit


def test_a_plus_marks_files_that_differ_from_the_commit(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "worldmodel" / "process").mkdir(parents=True)
    (tmp_path / "worldmodel" / "process" / "commit.py").write_text("one")
    monkeypatch.setattr(git_commit, "__file__", str(tmp_path / "worldmodel" / "process" / "commit.py"))
    assert git_commit.current_commit() is None  # an installed copy, not a checkout
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    clean = git_commit.current_commit()
    assert clean is not None
    assert not clean.endswith("+")
    (tmp_path / "worldmodel" / "process" / "commit.py").write_text("two")
    assert git_commit.current_commit() == clean + "+"
