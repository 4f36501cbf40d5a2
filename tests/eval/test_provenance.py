"""Captions name the run, its weights and the code."""

from eval import provenance


def test_a_caption_names_model_step_weights_and_commit():
    model = {"name": "demo", "spec": "runs/demo", "step": 2000, "hash": "0123456789abcdef"}
    assert (
        provenance.provenance_caption({"model": model, "commit": "4567cde"})
        == "demo, step 2000, weights 01234567, commit 4567cde"
    )
    assert provenance.provenance_caption({"model": {**model, "step": None}, "commit": None}) == "demo, weights 01234567"
