"""Whether all ranks loaded the same initial weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from worldmodel.checkpoint import CheckpointError
from worldmodel.checkpoint.opening import files_of
from worldmodel.checkpoint.state import read_state
from worldmodel.files.outputs import sha256_of
from worldmodel.models.pretrained.files import weight_files
from worldmodel.ranks.peers import Peer, format_peers


def require_same_weights(folder: Path, accelerator: Accelerator, field: str = "init_from") -> None:
    """Raise CheckpointError on every rank unless all of them loaded equal weights. Every rank must call it.

    folder: the checkpoint, or the folder of published weights, that this rank loaded. Hosts may have
    folders of their own, and a run that trains may save a better checkpoint meanwhile. field: of the
    recipe, for the message.
    """
    if accelerator.num_processes == 1:
        return
    own = (Peer.this_process(accelerator.process_index), str(folder), weights_digest(folder))
    loaded: list[tuple[Peer, str, str]] = gather_object([own])
    first, where, digest = loaded[0]
    others = [(peer, path) for peer, path, other in loaded if other != digest]
    if others:
        raise CheckpointError(
            f"{field}: {format_peers([peer for peer, _ in others])} loaded other weights, from {others[0][1]}, than {first}, "
            f"from {where}. Make the folders of all hosts equal, or name one checkpoint (RUN/checkpoints/NUMBER)"
        )


def weights_digest(folder: Path) -> str:
    """SHA-256 over the files with weights of a checkpoint (of model and EMA teacher) or of published weights.

    Digests of a checkpoint are those of its state.json: they were verified when it was opened.
    """
    if (folder / "state.json").is_file():
        state = read_state(folder)
        files = {name: state["sha256"][name] for part in ("model", "ema") for name in files_of(state, part)}
    else:
        files = {file.name: sha256_of(file) for file in weight_files(folder)}
    return hashlib.sha256(" ".join(f"{name} {files[name]}" for name in sorted(files)).encode()).hexdigest()
