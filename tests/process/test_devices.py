"""The devices that commands accept."""

import pytest
import torch

from eval.__main__ import main as evaluate
from worldmodel.process.devices import available_devices
from worldmodel.rollout import main as roll_out

NEEDED = ["--model", "x", "--data", "x", "--suite", "x", "--out", "x"]
ON_A_DEVICE = ("voe", "plausibility", "probe", "forecast", "sweep")


@pytest.mark.parametrize("device", ["cuda", "foo"])
@pytest.mark.parametrize("command", [*ON_A_DEVICE, "rollout"])
def test_an_unavailable_device_is_reported_in_one_line(command, device, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    run, arguments = (roll_out, ["x"]) if command == "rollout" else (evaluate, [command, "x", *NEEDED])
    with pytest.raises(SystemExit) as caught:
        run([*arguments, "--device", device])
    assert caught.value.code == 2
    *_, output = capsys.readouterr().err.splitlines()
    assert f"argument --device: invalid choice: '{device}' (choose from" in output


def test_the_fastest_kind_of_device_comes_first_and_gpus_have_numbers(monkeypatch):
    for module, here in ((torch.cuda, True), (torch.backends.mps, False)):
        monkeypatch.setattr(module, "is_available", lambda here=here: here)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert available_devices() == ["cuda", "cuda:0", "cuda:1", "cpu"]
