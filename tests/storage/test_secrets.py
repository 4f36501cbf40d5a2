"""Secrets in URLs are found wherever they stand, and never recorded."""

import json
import sys

import pytest

from worldmodel.storage.object_lock import LOCK, lock_url
from worldmodel.storage.secrets import holds_secret, recorded_command, texts_of, without_secrets
from worldmodel.storage.urls import UrlError, is_url, refuse_secrets, split_url

WITH_SECRETS = {
    "https://user:hunter2@host/run": "https://***@host/run",
    "https://hunter2@host/run": "https://***@host/run",
    "https://user:hun/ter2@host/run": "https://***@host/run",
    "s3://hunter2:b@bucket/a@b.mp4": "s3://***@bucket/a@b.mp4",
    "model.target={kind: frozen, run: https://user:hunter2@host/run}": "model.target={kind: frozen, run: https://***@host/run}",
    "hf:https://user:hunter2@host/run": "hf:https://***@host/run",
    "https://host/a b?download=hunter2": "https://host/a b?***",
    "s3://b/a?X-Amz-Signature=hunter2&x-amz-credential=hunter2": "s3://b/a?X-Amz-Signature=***&x-amz-credential=***",
    "gs://b/a?version=1&access_token=hunter2": "gs://b/a?version=1&access_token=***",
    "s3://b/a#token=hunter2": "s3://b/a#token=***",
}
WITHOUT = (
    "s3://bucket/a@b?c=d&design=1.mp4",
    "s3://bucket/a.mp4#etag=9b2cf535f27731c9",
    "hf://datasets/owner/name@main/a.mp4",
    "https://host:8080/a@b",
    "https://[::1]:8080/a@b",
    "/home/me@work/a?token=b",
    "hf:owner/name",
)


@pytest.mark.parametrize("text", WITH_SECRETS)
def test_a_secret_is_found_hidden_and_refused_without_repeating_it(text):
    assert holds_secret(text)
    assert without_secrets(text) == WITH_SECRETS[text]
    with pytest.raises(UrlError, match="must not hold a user name") as raised:
        refuse_secrets(["--out", text])
    assert "hunter2" not in str(raised.value)
    if is_url(text):
        with pytest.raises(UrlError, match="must not hold a user name"):
            split_url(text)


@pytest.mark.parametrize("text", WITHOUT)
def test_names_with_the_same_characters_are_left_as_they_are(text):
    assert not holds_secret(text)
    assert without_secrets(text) == text


def test_a_recorded_command_line_has_no_secret_and_can_be_given_to_a_shell():
    assert recorded_command(["train.py", "run=a b", "x=https://u:p@h/r"]) == "train.py 'run=a b' 'x=https://***@h/r'"


def test_texts_are_found_at_any_depth_with_their_names():
    assert list(texts_of({"a": {"b": ["x", 1]}, "c": None, "d": "y"})) == [("a.b[0]", "x"), ("d", "y")]


def test_the_lock_at_a_url_does_not_record_a_secret_of_the_command_line(server, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "x=https://user:hunter2@host/run"])
    with lock_url("s3://bucket/run", "wait"):
        content = server.objects[f"/bucket/run/{LOCK}"]
    assert json.loads(content)["command"] == "train.py 'x=https://***@host/run'"
