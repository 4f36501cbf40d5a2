"""Which run lies at a URL: `upload.json`, the same file in the run folder and at the URL."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

from worldmodel.checkpoint import CheckpointError, latest_checkpoint
from worldmodel.checkpoint.remote import fetch_last, list_run
from worldmodel.checkpoint.state import NewerFormatError, UnreadableError
from worldmodel.files.atomic import write_json
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.storage.object_lock import LOCK
from worldmodel.storage.transfer import read_whole, write_if

IDENTITY = "upload.json"
_MADE_BY = "worldmodel/train.py"


class UploadError(CheckpointError):
    """A run that could not be uploaded, or a URL that holds something else."""


def identify(run: Path, url: str) -> None:
    """Make sure that a run folder and a URL belong to the same run. A new URL gets the identity of the folder.

    Raises UploadError where they do not belong together, and StorageError.
    """
    own = read_json_object(run / IDENTITY, UploadError).get("run") if (run / IDENTITY).is_file() else None
    found = read_whole(f"{url}/{IDENTITY}")
    if found is None:
        _claim(run, url, own or uuid.uuid4().hex)
        return
    try:
        theirs = parse_json(found[0])["run"]
    except (ValueError, KeyError, TypeError):
        raise UploadError(f"{url}/{IDENTITY} was not written by this project; give a new upload_to=URL") from None
    if own == theirs:
        return
    if own is not None or latest_checkpoint(run) is not None:
        raise UploadError(f"{url} holds another run than {run}; give a new upload_to=URL, or another run=FOLDER")
    write_json(run / IDENTITY, {"made_by": _MADE_BY, "run": theirs})


def _claim(run: Path, url: str, identity: str) -> None:
    """Write the identity to a URL that has none, and must be empty."""
    remote = list_run(url)
    if others := [name for name in (*remote.files, *remote.checkpoints) if name != LOCK]:
        raise UploadError(f"{url} holds other objects, such as {others[0]}; give a new upload_to=URL")
    write_json(run / IDENTITY, {"made_by": _MADE_BY, "run": identity})
    if write_if(f"{url}/{IDENTITY}", (run / IDENTITY).read_bytes(), None) is None:
        raise UploadError(f"{url}: another process has just begun to upload a run there; give another upload_to=URL")


def fetch_uploaded(run: Path, url: str) -> None:
    """Download the last complete checkpoint of a URL, with the logs, unless the run folder has one of that step or later.

    Damaged checkpoints of the folder do not count.
    """
    try:
        last = latest_checkpoint(run)
    except (NewerFormatError, UnreadableError):
        raise
    except CheckpointError:  # all are damaged
        last = None

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    step = fetch_last(url, run, -1 if last is None else last.step, tell)
    if step is not None:
        tell(f"{run}: checkpoint {step} was downloaded from {url}")


def refuse_uploaded(url: str | None) -> None:
    """Raise UploadError where a URL has checkpoints of a run."""
    names = {} if url is None else list_run(url).checkpoints
    if names:
        last = max(names, key=int)
        raise UploadError(f"{url} has checkpoints (for example {last}). Give another URL, or omit --from-scratch to resume")
