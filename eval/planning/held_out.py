"""Leave out pairs whose episodes a model was trained on. Pairs of other data, or of a file, may be from such episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data_prep.progress import bar
from eval.errors import EvalError
from eval.planning.pairs import PairSet
from worldmodel.manifest import Manifest
from worldmodel.signals import SignalError, read_signals


def without_trained_on(pairs: PairSet, manifests: Sequence[Manifest]) -> PairSet:
    """The pairs whose episodes are not in the split train of any of the manifests. The others are counted.

    An episode is known by its clip id. Where a manifest does not have that clip, and where the environment drew the pair,
    states are compared: the start, and with goals "later" the goal too, is a state of one training episode. A matched pair is
    left out as a whole. Raises EvalError where no pair is left.
    """
    trained_on = np.zeros(len(pairs.pairs), np.bool_)
    for manifest in manifests:
        trained_on |= _trained_on(pairs, manifest)
    out = np.repeat(trained_on.reshape(-1, pairs.members).any(1), pairs.members)
    left = tuple(pair for pair, is_out in zip(pairs.pairs, out, strict=True) if not is_out)
    if not left:
        raise EvalError(
            f"all {len(out)} pairs are from episodes that a model was trained on (split train of "
            f"{', '.join(str(it.path) for it in manifests)}); give --data, --split or --pairs with other episodes"
        )
    return replace(pairs, pairs=left, removed_trained_on=pairs.removed_trained_on + int(out.sum()))


def _trained_on(pairs: PairSet, manifest: Manifest) -> NDArray[np.bool_]:
    """Of each pair, whether its episode is in the split train of a manifest: [P]."""
    ids, splits = manifest.column("clip_id"), manifest.column("split")
    trained = set(ids[splits == "train"].tolist())
    found = np.array([pair.clip_id in trained for pair in pairs.pairs], np.bool_)
    known = set(ids.tolist())
    unknown = [number for number, pair in enumerate(pairs.pairs) if pair.clip_id not in known]
    if not unknown:
        return found
    asked = {number: _states_of(pairs, number) for number in unknown}
    for states in _training_states(manifest):
        for number, wanted in asked.items():
            found[number] |= wanted <= states
    return found


def _states_of(pairs: PairSet, number: int) -> set[bytes]:
    """The states of a pair that are states of its episode. A goal that the environment drew need not be one."""
    pair = pairs.pairs[number]
    return _digests(np.array([pair.start, pair.goal] if pairs.goals == "later" else [pair.start]))


def _training_states(manifest: Manifest) -> Iterator[set[bytes]]:
    """All states of each episode of train. Episodes whose signals cannot be read are not trained on."""
    rows = manifest.rows("train").tolist()
    with bar("compare the pairs with train", len(rows)) as progress:
        for row in rows:
            table = manifest.clip(row).signals
            try:
                states = None if table is None else read_signals(table).states
            except SignalError:
                states = None
            progress.step(ok=states is not None)
            if states is not None:
                yield _digests(states)


def _digests(states: NDArray[np.float64]) -> set[bytes]:
    """Each state [T, S] rounded to 9 decimals, as for splits; -0 counts as 0."""
    return {state.tobytes() for state in np.round(states, 9) + 0.0}
