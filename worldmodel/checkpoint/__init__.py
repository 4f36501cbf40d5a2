"""Checkpoints of a run. Each is complete or absent at any time; files are safetensors and JSON, not pickles.

    RUN/checkpoints/00000500/{model,ema,optimizer,objectives}.safetensors   tensors by name
                             decoder-<digest>.safetensors                   added later, when a decoder was trained
                             state.json          SHA-256 of each file, recipe, step, samples, digest of state.json
    RUN/checkpoints/00000500/{model,ema,optimizer,objectives}-rank<number>.safetensors
                             with checkpoint.format sharded: the part of each rank, and its place in whole tensors
    RUN/checkpoints/damaged-00000500    skipped at a resume; removed when the run has passed this step
    RUN/best.json                       name of the checkpoint with the highest held-out skill, for information

One process, DDP and FSDP2 write the same whole tensors, and each of them loads the files of the others, whole or sharded.
"""

from worldmodel.checkpoint.background import BackgroundWriting
from worldmodel.checkpoint.opening import Checkpoint, open_checkpoint
from worldmodel.checkpoint.read import load_into, load_model, model_tensors, restore_checkpoint, restore_weights, set_weights
from worldmodel.checkpoint.selection import (
    all_checkpoints,
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
    WHOLE_FORMAT,
    CheckpointError,
    NewerFormatError,
    State,
    UnreadableError,
    write_state,
)
from worldmodel.checkpoint.write import (
    FileContent,
    NewCheckpoint,
    add_file,
    checkpoint_folder,
    gather_tensors,
    own_files,
    save_checkpoint,
    whole_files,
    write_failure_message,
    write_files,
)

__all__ = [
    "FORMAT",
    "RESUME_FIELDS",
    "WHOLE_FORMAT",
    "BackgroundWriting",
    "Checkpoint",
    "CheckpointError",
    "FileContent",
    "NewCheckpoint",
    "NewerFormatError",
    "State",
    "UnreadableError",
    "add_file",
    "all_checkpoints",
    "best_checkpoint_name",
    "checkpoint_folder",
    "find_checkpoint",
    "gather_tensors",
    "latest_checkpoint",
    "load_into",
    "load_model",
    "model_tensors",
    "open_checkpoint",
    "own_files",
    "prune",
    "refuse_existing_checkpoints",
    "restore_checkpoint",
    "restore_weights",
    "save_checkpoint",
    "set_aside_later",
    "set_weights",
    "whole_files",
    "write_best",
    "write_failure_message",
    "write_files",
    "write_state",
]
