"""Where shards are written: a folder, or the URL of a folder, to which finished files are uploaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.errors import PrepError
from data_prep.pool import Failed
from data_prep.sharding.plan import ShardJob
from data_prep.sharding.writing import Stored, finished_results, write_shard
from worldmodel.files.atomic import write_json
from worldmodel.files.json_files import read_json_object
from worldmodel.storage.cache import temporary_folder
from worldmodel.storage.errors import StorageError
from worldmodel.storage.objects import IN_FLIGHT, local_copy
from worldmodel.storage.shard_index import SUFFIX
from worldmodel.storage.store import exists, latest_version
from worldmodel.storage.transfer import upload
from worldmodel.storage.urls import is_url

MANIFEST, NOTE = "manifest.parquet", "shards.json"
_ADVICE = "choose another --out"


def make_shard(job: ShardJob, out: str) -> tuple[Stored, ...] | Failed:
    """Find or make a shard in a folder or at a URL. Runs in worker processes.

    Raises OutputError for a full disk. A store that cannot be read or written gives Failed.
    """
    with stage(out) as folder:
        if (found := _find(job, out)) is not None:
            return found
        try:
            results = write_shard(job, folder)
            if is_url(out):
                for name in (job.name, job.name + SUFFIX):  # the index last: it proves that the tar is complete
                    upload(Path(folder, name), f"{out}/{name}")
        except StorageError as error:
            return Failed("storage", str(error.strerror))
        return results


def stage(out: str) -> AbstractContextManager[Path]:
    """The folder in which files are made: of a URL, a temporary one in the folder of the cache."""
    return temporary_folder() if is_url(out) else nullcontext(Path(out))


def _find(job: ShardJob, out: str) -> tuple[Stored, ...] | None:
    with suppress(OSError):  # a StorageError too: then the upload will tell
        if is_url(out):
            return finished_results(job, local_copy(f"{out}/{job.name}{SUFFIX}"), latest_version(f"{out}/{job.name}").size)
        path = Path(out, job.name)
        return finished_results(job, path.with_name(path.name + SUFFIX), path.stat().st_size)
    return None


@dataclass(frozen=True)
class OutputNote:
    """What the shards of an output are made of. Another output is never mixed with them."""

    samples: str  # digest of the manifest
    shard_bytes: int
    tables: bool  # whether its clips have signals or ground truth

    def claim(self, out: str, names: Sequence[str]) -> None:
        """Write the note, or compare it with the one there. `names`: all files that will be written beside it.

        Raises PrepError for an output of other shards, or where one of the files exists.
        """
        wanted = {"made_by": "python -m data_prep shard", "samples": self.samples, "shard_bytes": self.shard_bytes}
        wanted |= {"tables": True} if self.tables else {}  # shards of earlier versions have none
        try:
            found = read_json_object(local_copy(f"{out}/{NOTE}") if is_url(out) else Path(out, NOTE), PrepError)
        except StorageError as error:
            if not error.missing:
                raise PrepError(str(error.strerror)) from None
            found = None
        except PrepError as error:
            if is_url(out) or Path(out, NOTE).exists():
                raise PrepError(f"{out}/{NOTE}: not a note of `data_prep shard` ({error}); {_ADVICE}") from None
            found = None
        if found is None:
            self._write(out, wanted, names)
        elif found != wanted:
            raise PrepError(f"{out} holds shards made with {found}, but {wanted} is requested; {_ADVICE}")

    def _write(self, out: str, note: dict[str, Any], names: Sequence[str]) -> None:
        with ThreadPoolExecutor(IN_FLIGHT, "claim") as pool:
            existing = list(pool.map(partial(_exists, out), names))
        if any(existing):
            name = names[existing.index(True)]
            raise PrepError(f"{out}/{name}: exists and was not made by this command, so it is not overwritten; {_ADVICE}")
        with stage(out) as folder:
            write_json(Path(folder, NOTE), note)
            if is_url(out):
                upload(Path(folder, NOTE), f"{out}/{NOTE}")


def _exists(out: str, name: str) -> bool:
    return exists(f"{out}/{name}") if is_url(out) else os.path.lexists(Path(out, name))
