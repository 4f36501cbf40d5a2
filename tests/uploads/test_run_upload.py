"""Run folders follow to a URL: whole checkpoints only, whatever fails, and never two runs in one place."""

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from worldmodel.checkpoint import (
    CheckpointError,
    State,
    add_file,
    all_checkpoints,
    find_checkpoint,
    latest_checkpoint,
    open_checkpoint,
    save_checkpoint,
    write_best,
)
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.storage.errors import StorageError
from worldmodel.storage.object_lock import LOCK
from worldmodel.uploads import run_upload
from worldmodel.uploads.identity import UploadError, fetch_uploaded
from worldmodel.uploads.run_upload import RunUpload, upload_run

URL, AT = "s3://bucket/run", "/bucket/run/"


@pytest.fixture(autouse=True)
def _at_the_end(monkeypatch) -> None:
    """No uploads but those that a test asks for, and the one at the end."""
    monkeypatch.setattr(run_upload, "POLL_S", 0.05)
    monkeypatch.setattr(run_upload, "END_WAIT_S", 0.5)
    monkeypatch.setattr(RunUpload, "_follow", lambda self: None)


def save(run: Path, step: int, skill: float | None = None) -> None:
    state: State = {"step": step, "recipe": {}, "skill": skill}
    save_checkpoint(run, {"model": {"weight": torch.full((3,), float(step))}}, state)
    write_best(run)


def weight_of(path: Path | str) -> float:
    return find_checkpoint(path).tensors("model")["weight"][0].item()


def names(server, below: str = "") -> set[str]:
    return {path.removeprefix(AT) for path in server.objects if path.startswith(AT + below)}


def test_a_run_folder_arrives_and_is_read_from_the_url(server, tmp_path, capsys):
    run = tmp_path / "run"
    save(run, 2, 0.5)
    save(run, 4, 0.4)
    (run / "metrics.jsonl").write_text("{}\n")
    (run / ".lock").write_text("")
    with upload_run(run, URL, 2, []):
        assert f"{AT}{LOCK}" in server.objects
    files = {f"checkpoints/0000000{step}/{file}" for step in (2, 4) for file in ("model.safetensors", "state.json")}
    assert names(server) == {*files, "best.json", "metrics.jsonl", "upload.json"}
    assert weight_of(URL) == 2  # the best one
    assert weight_of(f"{URL}/checkpoints/00000004") == 4
    assert f"uploaded to {URL}" in capsys.readouterr().out


def test_a_url_at_which_a_console_has_made_folders_takes_a_run(server, tmp_path):
    server.objects |= {f"{AT}{name}": b"" for name in ("", "checkpoints/", "voe/")}
    save(tmp_path / "run", 2)
    with upload_run(tmp_path / "run", URL, 2, []):
        pass
    assert weight_of(URL) == 2


def test_all_checkpoints_of_a_run_at_a_url_are_refused_since_one_would_be_taken_for_all(server, tmp_path):
    run = tmp_path / "run"
    save(run, 2)
    save(run, 4)
    with upload_run(run, URL, 2, []):
        pass
    with pytest.raises(CheckpointError, match=r"s3://bucket/run is the URL of a run with 2 complete checkpoints.*Copy the run"):
        all_checkpoints(f"{URL}/")
    assert [found.folder.name for found in all_checkpoints(f"{URL}/checkpoints/00000002")] == ["00000002"]
    assert [found.folder.name for found in all_checkpoints(run)] == ["00000002", "00000004"]


def test_state_json_is_sent_last_and_a_part_of_a_checkpoint_is_never_chosen(server, tmp_path):
    run = tmp_path / "run"
    save(run, 2)
    save(run, 4)
    with upload_run(run, URL, 2, []):
        pass
    puts = [request.split("/")[-1] for request in server.requests if request.startswith(f"PUT {AT}checkpoints/00000004")]
    assert puts == ["model.safetensors", "state.json"]
    del server.objects[f"{AT}checkpoints/00000004/state.json"]
    assert weight_of(URL) == 2
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        find_checkpoint(f"{URL}/checkpoints/00000004")


def test_a_damaged_checkpoint_at_the_url_is_skipped_with_a_warning(server, tmp_path, capsys):
    save(tmp_path / "run", 2)
    save(tmp_path / "run", 4)
    with upload_run(tmp_path / "run", URL, 2, []):
        pass
    weights = f"{AT}checkpoints/00000004/model.safetensors"
    server.objects[weights] = server.objects[weights][:-1] + b"x"
    assert weight_of(URL) == 2
    assert "does not match its digest" in capsys.readouterr().err


def test_a_machine_without_the_folder_continues_from_the_url(server, tmp_path, capsys):
    with upload_run(tmp_path / "a", URL, 2, []):
        save(tmp_path / "a", 2, 0.9)
        save(tmp_path / "a", 4, 0.1)
        (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 4}\n')
    server.requests.clear()
    with upload_run(tmp_path / "b", URL, 2, []):
        assert weight_of(tmp_path / "b" / "checkpoints" / "00000004") == 4
        assert weight_of(tmp_path / "b") == 2  # the best one came too
        assert (tmp_path / "b" / "metrics.jsonl").read_text() == '{"step": 4}\n'
        save(tmp_path / "b", 6, 0.2)
    assert not [request for request in server.requests if request.startswith(f"PUT {AT}checkpoints/00000004")]
    assert names(server, "checkpoints/00000006")
    with upload_run(tmp_path / "a", URL, 2, []):  # an older folder of the same run: the later of both is taken
        assert weight_of(tmp_path / "a" / "checkpoints" / "00000006") == 6
    assert "checkpoint 6 was downloaded" in capsys.readouterr().err


def test_old_checkpoints_go_but_not_the_best_one(server, tmp_path):
    run = tmp_path / "run"
    with upload_run(run, URL, 2, []):
        server.objects[f"{AT}checkpoints/00000001/model.safetensors"] = b"left by a process that was killed"
    with upload_run(run, URL, 2, []) as upload:
        for step, skill in ((2, 0.9), (4, 0.1), (6, 0.1), (8, 0.1)):
            save(run, step, skill)
            upload._upload(everything=True)
        for step in (4, 6):
            for file in (run / "checkpoints" / f"0000000{step}").iterdir():
                file.unlink()
            (run / "checkpoints" / f"0000000{step}").rmdir()
    assert {name.split("/")[1] for name in names(server, "checkpoints")} == {"00000002", "00000006", "00000008"}
    removed = [request for request in server.requests if request.startswith("DELETE") and "00000004" in request]
    assert removed[0].endswith("state.json")


def test_a_store_that_fails_stops_nothing_and_is_told_at_the_end_with_the_names(server, tmp_path):
    told: list[str] = []
    with ExitStack() as stack:
        upload = stack.enter_context(upload_run(tmp_path / "run", URL, 2, []))
        upload.report_to(told.append)
        save(tmp_path / "run", 2)
        server.always["checkpoints"] = 503
        assert [upload._upload(everything=True) for _ in range(3)] == [False] * 3
        with pytest.raises(UploadError, match=r"not uploaded to s3://bucket/run: checkpoints/00000002.*complete in"):
            stack.close()
    assert len(told) == 1
    assert "HTTP 503" in told[0]
    assert "Training goes on" in told[0]
    server.always.clear()
    with upload_run(tmp_path / "run", URL, 2, []):  # the same command sends what is missing
        pass
    assert weight_of(URL) == 2


def test_faults_that_pass_are_not_seen(server, tmp_path):
    with upload_run(tmp_path / "run", URL, 2, []):
        save(tmp_path / "run", 2)
        server.write_faults += [503, "drop", 500]
        server.lost_answers = 2
    assert weight_of(URL) == 2


def test_a_url_with_other_objects_or_another_run_is_refused(server, tmp_path):
    server.objects[f"{AT}thesis.pdf"] = b"mine"
    with pytest.raises(UploadError, match=r"holds other objects, such as thesis\.pdf"), upload_run(tmp_path / "a", URL, 2, []):
        pass
    del server.objects[f"{AT}thesis.pdf"]
    with upload_run(tmp_path / "a", URL, 2, []):
        pass
    save(tmp_path / "b", 2)
    with pytest.raises(UploadError, match="holds another run"), upload_run(tmp_path / "b", URL, 2, []):
        pass
    assert names(server) == {"upload.json"}


def test_a_run_whose_url_was_taken_over_ends_and_writes_nothing_more(server, tmp_path):
    with ExitStack() as stack:
        upload = stack.enter_context(upload_run(tmp_path / "run", URL, 2, []))
        other = {**json.loads(server.objects[f"{AT}{LOCK}"]), "token": "t", "pid": 7, "host": "far"}
        server.objects[f"{AT}{LOCK}"] = json.dumps(other).encode()
        upload._lock.refresh()
        save(tmp_path / "run", 2)
        with pytest.raises(FolderLockError, match="taken over by process 7 on far"):
            stack.close()
    assert not names(server, "checkpoints")


def puts(server, below: str) -> list[str]:
    start = f"PUT {AT}{below}"
    return [request.removeprefix(start) for request in server.requests if request.startswith(start)]


def test_a_damaged_checkpoint_of_the_folder_is_replaced_by_the_one_at_the_url(server, tmp_path):
    run = tmp_path / "run"
    save(run, 2)
    save(run, 4)
    with upload_run(run, URL, 2, []):
        pass
    weights = [run / "checkpoints" / f"0000000{step}" / "model.safetensors" for step in (2, 4)]
    weights[1].write_bytes(b"damaged")
    fetch_uploaded(run, URL)
    assert latest_checkpoint(run).step == 4
    for path in weights:  # none is intact: the URL is asked all the same
        path.write_bytes(b"damaged")
    fetch_uploaded(run, URL)
    assert latest_checkpoint(run).step == 4


def test_a_best_checkpoint_that_is_damaged_in_the_folder_is_downloaded_again(server, tmp_path):
    run = tmp_path / "run"
    save(run, 2, 0.5)
    save(run, 4, 0.4)
    with upload_run(run, URL, 2, []):
        pass
    (run / "checkpoints" / "00000002" / "model.safetensors").write_bytes(b"damaged")
    fetch_uploaded(run, URL)  # the last one is intact, so it is not asked for
    assert weight_of(run) == 2


def test_files_that_are_at_the_url_are_not_sent_again(server, tmp_path):
    run, below = tmp_path / "run", "checkpoints/00000002/"
    with upload_run(run, URL, 2, []) as upload:
        save(run, 2)
        server.always["state.json"] = 503
        assert not upload._upload(everything=True)
        server.always.clear()
        assert upload._upload(everything=True)
        assert puts(server, below).count("model.safetensors") == 1
        add_file(open_checkpoint(run / below), "decoder", {"d": torch.zeros(3)})
    assert puts(server, below).count("model.safetensors") == 1
    server.requests.clear()
    add_file(open_checkpoint(run / below), "decoder", {"d": torch.ones(3)})
    with upload_run(run, URL, 2, []):
        pass
    assert [name.partition("-")[0] for name in puts(server, below)] == ["decoder", "state.json"]
    assert find_checkpoint(URL).tensors("decoder")["d"][0] == 1


def test_other_files_never_lie_below_the_state_json_of_their_predecessors(server, tmp_path):
    run, state = tmp_path / "run", f"{AT}checkpoints/00000002/state.json"
    save(run, 2)
    with upload_run(run, URL, 2, []):
        pass
    save_checkpoint(run, {"model": {"weight": torch.zeros(3)}}, {"step": 2, "recipe": {}, "skill": None})
    with upload_run(run, URL, 2, []) as upload:
        server.always["model.safetensors"] = 503
        assert not upload._upload(everything=True)
        assert state not in server.objects
        server.always.clear()
    assert weight_of(URL) == 0


def test_odd_files_of_the_folder_stop_no_upload(server, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    read = Path.read_bytes

    def refuse_notes(path: Path) -> bytes:
        if path.name == "notes.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse_notes)
    with upload_run(run, URL, 2, []):
        save(run, 2)
        (run / "notes.txt").write_text("mine")
        (run / "link").symlink_to(run / "nothing")
        if hasattr(os, "mkfifo"):
            os.mkfifo(run / "pipe")
    assert weight_of(URL) == 2
    assert names(server) == {*names(server, "checkpoints"), "upload.json"}
    assert "without notes.txt; such files cannot be read" in capsys.readouterr().out


def test_the_end_waits_as_long_as_objects_arrive(server, tmp_path, monkeypatch):
    send = run_upload.upload

    def send_slowly(content, url, on_part) -> None:
        time.sleep(0.2)
        send(content, url, on_part)

    monkeypatch.setattr(run_upload, "upload", send_slowly)
    with upload_run(tmp_path / "run", URL, 2, []):
        save(tmp_path / "run", 2)
        save(tmp_path / "run", 4)  # four files take 0.8 s; 0.5 s without progress would be the end
    assert len(names(server, "checkpoints")) == 4


def test_a_part_that_is_sent_again_is_no_progress(server, tmp_path, monkeypatch):
    def fail(content, url, on_part) -> None:
        for start in (0, 5, 0, 5):
            on_part(start)
        raise StorageError(url, "down", store="s3://bucket", unreachable=True)

    monkeypatch.setattr(run_upload, "upload", fail)
    began = time.monotonic()
    with pytest.raises(UploadError, match="not uploaded"), upload_run(tmp_path / "run", URL, 2, []):
        save(tmp_path / "run", 2)
    assert time.monotonic() - began < 5


def test_a_lock_that_cannot_be_confirmed_is_a_failure_that_is_tried_again(server, tmp_path, monkeypatch):
    with upload_run(tmp_path / "run", URL, 2, []) as upload:
        save(tmp_path / "run", 2)
        with monkeypatch.context() as store_is_silent:
            store_is_silent.setattr(upload._lock, "confirm", lambda: False)
            assert not upload._upload(everything=True)
        assert not names(server, "checkpoints")
    assert names(server, "checkpoints")


def test_a_copy_that_was_used_just_now_stays_for_its_reader(server, tmp_path, monkeypatch):
    save(tmp_path / "run", 2, 0.1)
    with upload_run(tmp_path / "run", URL, 2, []):
        pass
    used = find_checkpoint(URL)
    save(tmp_path / "run", 4, 0.9)
    save(tmp_path / "run", 6, 0.5)
    with upload_run(tmp_path / "run", URL, 2, []):
        pass
    assert find_checkpoint(URL).step == 4
    assert open_checkpoint(used.folder).step == 2
    del server.objects[f"{AT}best.json"]
    assert find_checkpoint(URL).step == 6  # not the copy of a better one, which the URL no longer names
    os.utime(used.folder, (0, 0))
    find_checkpoint(URL)
    assert not used.folder.exists()
