"""Checkpoints of a run. Each is complete or absent at any time; files are safetensors and JSON, not pickles.

    RUN/checkpoints/00000500/{model,ema,optimizer,objectives}.safetensors   tensors by name
                             decoder-<digest>.safetensors                   added later, when a decoder was trained
                             state.json          SHA-256 of each file, recipe, step, samples, digest of state.json
    RUN/checkpoints/damaged-00000500    skipped at a resume; removed when the run has passed this step
    RUN/best.json                       name of the checkpoint with the highest held-out skill, for information

One process, DDP and FSDP2 write the same files, and each of them loads the files of the others.
"""

from worldmodel.checkpoint.opening import Checkpoint, open_checkpoint
from worldmodel.checkpoint.read import load_into, load_model, model_tensors, restore_checkpoint, restore_weights, set_weights
from worldmodel.checkpoint.selection import (
    best_checkpoint_name,
    find_checkpoint,
    latest_checkpoint,
    prune,
    refuse_existing_checkpoints,
    set_aside_later,
    write_best,
)
from worldmodel.checkpoint.state import (
    FORMAT,
    RESUME_FIELDS,
    CheckpointError,
    NewerFormatError,
    State,
    UnreadableError,
    write_state,
)
from worldmodel.checkpoint.write import add_file, gather_tensors, save_checkpoint, write_failure_message

__all__ = [
    "FORMAT",
    "RESUME_FIELDS",
    "Checkpoint",
    "CheckpointError",
    "NewerFormatError",
    "State",
    "UnreadableError",
    "add_file",
    "best_checkpoint_name",
    "find_checkpoint",
    "gather_tensors",
    "latest_checkpoint",
    "load_into",
    "load_model",
    "model_tensors",
    "open_checkpoint",
    "prune",
    "refuse_existing_checkpoints",
    "restore_checkpoint",
    "restore_weights",
    "save_checkpoint",
    "set_aside_later",
    "set_weights",
    "write_best",
    "write_failure_message",
    "write_state",
]
