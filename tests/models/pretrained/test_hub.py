"""Errors of the hub and of the network are PretrainedErrors with a reason, whatever library raises them."""

from pathlib import Path

import pytest

from worldmodel.models.pretrained.hub import find_folder, push_folder
from worldmodel.models.pretrained.layouts import PretrainedError

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there


def test_an_upload_without_network_says_that_the_export_is_written(no_network, tmp_path: Path):
    with pytest.raises(PretrainedError, match=r"is written, but it could not be uploaded to someone/tiny: .*[Cc]onnect"):
        push_folder(tmp_path, "someone/tiny", [], False)


def test_a_download_without_network_names_what_was_asked(no_network):
    with pytest.raises(PretrainedError, match="someone/tiny is not a folder and could not be downloaded: "):
        find_folder("someone/tiny")


class HttpError(Exception):
    """As those of httpx, which derive from no error of Python but Exception."""


@pytest.mark.parametrize(("text", "reason"), [("", "HttpError"), ("\n \n", "HttpError"), ("\n  refused \nmore", "refused")])
def test_an_error_without_text_is_named_by_its_type(monkeypatch, text: str, reason: str):
    def fail(*_args, **_options):
        raise HttpError(text)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(PretrainedError, match=f"could not be downloaded: {reason}$"):
        find_folder("someone/tiny")
