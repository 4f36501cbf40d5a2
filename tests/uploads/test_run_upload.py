"""Run folders follow to a URL: whole checkpoints only, whatever fails, and never two runs in one place."""

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from worldmodel.checkpoint import CheckpointError, State, find_checkpoint, save_checkpoint, write_best
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.storage.object_lock import LOCK
from worldmodel.uploads import run_upload
from worldmodel.uploads.identity import UploadError
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
