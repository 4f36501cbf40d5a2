"""Tests do not depend on the working directory, home and caches of the user who starts them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import launch
import psutil
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


left: list[int] = []
IN_ITS_OWN_SESSION = """
import subprocess
process = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
print(process.pid, flush=True)
"""


def test_a_process_of_a_session_of_its_own_is_left_behind():
    left.append(int(subprocess.run([sys.executable, "-c", IN_ITS_OWN_SESSION], stdout=subprocess.PIPE).stdout))
    assert psutil.pid_exists(left[0])


def test_no_process_outlives_its_test():
    assert left
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in left)


def test_a_command_that_does_not_end_is_killed_with_its_processes_and_shows_where_it_was():
    waits = f"{IN_ITS_OWN_SESSION}\ndef stands_here():\n    import time; time.sleep(600)\nstands_here()"
    with pytest.raises(AssertionError, match="did not end within 3 s") as raised:
        launch.run([sys.executable, "-c", waits], timeout=3)
    pid = int(next(filter(str.isdigit, str(raised.value).splitlines())))
    assert "in stands_here" in str(raised.value)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
