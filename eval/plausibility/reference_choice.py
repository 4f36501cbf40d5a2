"""Which videos `eval score` compares with: those that are given, else the run's val split, else what the run folder holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import PartialState

from eval.cache import run_folder as run_reference
from eval.cache.cache_folder import cache_folder
from eval.errors import EvalError
from eval.plausibility.batches import Viewing
from eval.plausibility.reference_videos import Reference, lawful_reference
from eval.plausibility.stored_reference import KIND, store_reference, stored_reference
from eval.subject import Subject
from eval.voe.surprise.calibration_videos import lawful_clips, run_data
from eval.voe.surprise.windows import WindowPlan
from worldmodel.manifest import Clip
from worldmodel.process.terminal import say
from worldmodel.video.square import Square

PlanOf = Callable[[Sequence[Clip]], WindowPlan]


@dataclass(frozen=True)
class Choice:
    """A reference distribution, how videos are shown to the model for it, and the manifest that it was made of."""

    reference: Reference
    viewing: Viewing
    manifest: str


def choose_reference(
    given: str | None, subject: Subject, plan_of: PlanOf, device: torch.device, ranks: PartialState, square: Square
) -> Choice:
    """The reference distribution of a subject, made now unless it was made before; that of a run's val split is stored in its
    folder. Raises EvalError where there are neither videos nor a stored distribution."""
    model, folder = subject.model, None if given else run_reference.folder_of(subject)
    assert model is not None
    manifest, clips = lawful_clips(given, None, subject)
    if manifest is not None and clips:
        viewing = Viewing(model, plan_of(clips), device, ranks, square)
        reference = lawful_reference(viewing, subject.hash, clips, cache_folder())
        if reference.yardstick.films:
            if folder is not None and ranks.is_main_process:
                store_reference(folder, reference, subject, square, clips, manifest)
            return Choice(reference, viewing, manifest)
        name, reason = next(iter(reference.unread.items()))
        why = f"none of the {len(clips)} lawful films of {manifest} can be watched: {name}: {reason}"
    elif manifest is not None:
        why = f"{manifest} has no films of split {'val or train' if given else 'val'} to compare with"
    else:
        missing = "; ".join(run_data(subject).missing) or f"{subject.name} has no training data of its own"
        why = f"no lawful films to compare with: {missing}"
    stored = None if folder is None else stored_reference(folder, subject, square, plan_of)
    if stored is None:
        other = folder is not None and any(folder.glob(f"{KIND}-*.npz"))
        other_words = f" ({folder} holds some for other weights or another protocol)" if other else ""
        raise EvalError(f"{why}{other_words}; give {'others' if manifest else 'some'} with --lawful MANIFEST")
    if ranks.is_main_process:
        say(f"eval score: {why}; the reference distribution stored in {folder} is taken", file=sys.stderr)
    reference, manifest = stored
    return Choice(reference, Viewing(model, reference.yardstick.plan, device, ranks, square), manifest)
