"""Windows that could not be read during training: they are logged, and too many of them end the run."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate import Accelerator
from accelerate.utils import gather_object

from worldmodel.data.loader import BadClip, Batch, DataError
from worldmodel.recipe import Recipe
from worldmodel.runs.run_log import RunLog

_ALWAYS_ALLOWED = 10  # failed reads, whatever data.max_failed_fraction


class FailedReads:
    """Failed reads since the start of this process, over all ranks."""

    def __init__(self, recipe: Recipe, accelerator: Accelerator, log: RunLog, first_step: int) -> None:
        self._recipe, self._accelerator, self._log, self._first = recipe, accelerator, log, first_step
        self._recent: list[BadClip] = []  # since the last call of `gather`, on this rank
        self._count = 0  # up to the last call of `gather`, on all ranks
        self._through_container = 0  # windows that were not read by the packet index, on this rank

    def add(self, micro_batches: Sequence[Batch]) -> None:
        """Log the failed reads of this rank."""
        self._recent += [clip for batch in micro_batches for clip in batch.bad]
        self._through_container += sum(batch.through_container for batch in micro_batches)
        self._log.log_bad_clips(self._recent)

    def gather(self, step: int) -> None:
        """Log the failed reads of all ranks. Raises DataError if there are too many of them. Every rank must call it."""
        everywhere = gather_object(self._recent) if self._accelerator.num_processes > 1 else self._recent
        self._log.log_bad_clips(everywhere)
        self._count += len(everywhere)
        self._recent = []
        data = self._recipe.data
        reads = (step - self._first) * data.batch_size + self._count  # each failed read was replaced by another one
        if self._count > max(_ALWAYS_ALLOWED, data.max_failed_fraction * reads):
            raise DataError(
                f"{self._count} of {reads} reads failed (data.max_failed_fraction {data.max_failed_fraction:g}); the files are "
                f"listed in {self._recipe.run}/bad_clips.jsonl. Index the data again: `python -m data_prep index`"
            )

    def report(self) -> None:
        """Print how many reads failed, if any, and how many could not use the packet index."""
        if count := self._count + len(self._recent):
            files = f"{self._recipe.run}/bad_clips.jsonl"
            self._log.print(f"{count:,} reads failed since this start; other windows replaced them, see {files}")
        if count := self._through_container:
            self._log.print(
                f"{count:,} reads of this process did not use the packet index, because it does not have the file or the file "
                "has changed; `python -m data_prep packets MANIFEST` makes it again, and says which files it leaves out"
            )
