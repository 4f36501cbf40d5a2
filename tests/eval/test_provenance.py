"""Captions say which run, which weights and which code."""

from eval import provenance as told


def test_a_caption_names_what_made_it():
    model = {"name": "demo", "spec": "runs/demo", "step": 2000, "hash": "0123456789abcdef"}
    assert told.named({"model": model, "commit": "4567cde"}) == "demo, update 2000, weights 01234567, commit 4567cde"
    assert told.named({"model": {**model, "step": None}, "commit": None}) == "demo, weights 01234567"
