"""Checkpoints of a run: complete or absent at any moment, safetensors and JSON, no pickles.

    RUN/checkpoints/00000500/{model,ema,optimizer,objectives}.safetensors   tensors by name
                             decoder-<digest>.safetensors                   added later, where a decoder was trained
                             state.json      SHA-256 of each file, recipe, update, samples, and a digest of itself
    RUN/checkpoints/damaged-00000500    passed over at a resume; removed when the run has passed its update
    RUN/best.json                       which checkpoint has the highest held-out skill (a note; state.json is read)

One process, DDP and FSDP2 write the same files, and each of them loads the files of the others.
"""

from worldmodel.checkpoint.finding import (
    best_name,
    find_checkpoint,
    latest,
    note_best,
    prune,
    refuse_begun,
    set_aside_later,
)
from worldmodel.checkpoint.loading import load_into, load_model, model_tensors, restore, restore_weights
from worldmodel.checkpoint.saving import add_file, cannot_write, gather, save_checkpoint
from worldmodel.checkpoint.state import (
    FORMAT,
    RESUME_FIELDS,
    CheckpointError,
    NewerFormatError,
    State,
    UnreadableError,
    write_state,
)
from worldmodel.checkpoint.stored import Checkpoint, open_checkpoint

__all__ = [
    "FORMAT",
    "RESUME_FIELDS",
    "Checkpoint",
    "CheckpointError",
    "NewerFormatError",
    "State",
    "UnreadableError",
    "add_file",
    "best_name",
    "cannot_write",
    "find_checkpoint",
    "gather",
    "latest",
    "load_into",
    "load_model",
    "model_tensors",
    "note_best",
    "open_checkpoint",
    "prune",
    "refuse_begun",
    "restore",
    "restore_weights",
    "save_checkpoint",
    "set_aside_later",
    "write_state",
]
