"""Tests do not depend on the working directory, home and caches of the user who starts them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def session_surroundings() -> tuple[Path, Path]:
    return Path.cwd(), Path.home()


@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_starts_in_an_empty_folder_whatever_another_left_in_its_own(turn):
    for folder in (Path.cwd(), Path.home(), Path(tempfile.gettempdir())):
        assert list(folder.iterdir()) == []
        assert ROOT not in (folder, *folder.parents)
        (folder / "left").touch()


def test_a_session_fixture_sees_neither_the_project_nor_the_users_home(session_surroundings, isolated_session):
    work, home = session_surroundings
    assert isolated_session in work.parents
    assert isolated_session in home.parents


def test_a_child_process_is_isolated_and_imports_this_checkout():
    code = "import os, tempfile, pathlib, worldmodel, data_prep, eval.subject as e; "
    code += "print(os.getcwd(), pathlib.Path.home(), tempfile.gettempdir(), worldmodel.__file__, e.__file__, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    work, home, temporary, library, evaluation = done.stdout.splitlines()
    assert (Path(work), Path(home)) == (Path.cwd(), Path.home())
    assert temporary == os.environ["TMPDIR"] == tempfile.gettempdir()
    assert (Path(library), Path(evaluation)) == (ROOT / "worldmodel" / "__init__.py", ROOT / "eval" / "subject.py")
