"""Generation of a spliced suite: in parallel and resumable.

The configuration is first written as OUT/suite.json, so that a folder never mixes two suites. Every
finished job appends a line to a journal, in the order of the plan. The tables are written at the end.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.overwrite_checks import check_absent, check_no_link, claim_folder
from data_prep.parallel.workers import Workers
from data_prep.physics.quad_table import write_quads
from data_prep.pool import Failed
from data_prep.progress import bar
from data_prep.splicing.config import SplicingConfig
from data_prep.splicing.held_out import Pools
from data_prep.splicing.jobs import GIVEN_UP, LOST, MAX_FAILURES, SpliceJob, SpliceResult, all_jobs, run_job
from worldmodel.files.atomic import write_text
from worldmodel.files.json_files import parse_json, read_json_object
from worldmodel.files.output_errors import output_errors
from worldmodel.files.output_mark import mark_folder
from worldmodel.manifest import Clip, write_manifest

COMMAND = "data_prep quadruplets"
ADVICE = "choose another folder"
LOST_ADVICE = (
    "the same command resumes only if this object can be read again as it was; otherwise make the manifest again, and give "
    "another --out"
)
TIMEOUT_S = 600.0
TABLES = ("suite.parquet", "quads.parquet", "calibration.parquet")


def claim_output(out: Path, config: SplicingConfig) -> None:
    """Create the folder and write the configuration, or compare it with the one that is there.

    Raises PrepError for another configuration, and for a folder with videos of other origin.
    """
    path, wanted = out / "suite.json", config.model_dump(mode="json")
    if not path.exists():
        for name in (path.name, *TABLES):
            check_absent(out / name, ADVICE)
        claim_folder(out, COMMAND)
        write_text(path, json.dumps(wanted, indent=2) + "\n")
        return
    found = read_json_object(path, PrepError)
    if "splicing" not in found:
        raise PrepError(f"{path}: not a configuration written by {COMMAND}; {ADVICE}")
    if changed := [
        f"{key} is {found.get(key)!r} there and {value!r} now" for key, value in wanted.items() if found.get(key) != value
    ]:
        raise PrepError(f"{path}: these videos have another configuration ({'; '.join(changed)}); {ADVICE}, or delete this one")
    for name in TABLES:
        check_no_link(out / name, ADVICE)
    mark_folder(out, f"python -m {COMMAND}")


def make_videos(out: Path, config: SplicingConfig, pools: Pools, workers: Workers) -> list[tuple[SpliceJob, SpliceResult]]:
    """Run the jobs that are not in the journal yet. Returns the results of all jobs.

    A cell of the suite (a property and a visibility) is given up after MAX_FAILURES consecutive jobs that
    could not be made. Results are counted in the order of the plan. Other workers may have run later jobs
    of the cell before; their videos are deleted, so that the suite does not depend on the workers.
    """
    jobs = list(all_jobs(config, pools))
    journal = out / ".making" / "quadruplets.jsonl"
    with output_errors(journal):
        journal.parent.mkdir(parents=True, exist_ok=True)
    results = _finished(journal, out)[: len(jobs)]
    with output_errors(journal), open(journal, "w", encoding="utf-8") as lines, bar("quadruplets", len(jobs)) as progress:
        lines.writelines(json.dumps(asdict(result)) + "\n" for result in results)
        progress.step(len(results))
        work, left = partial(run_job, folder=str(out), config=config, pools=pools), jobs[len(results) :]
        failures: Counter[tuple[str, str]] = Counter()  # consecutive ones, by cell
        for job, earlier in zip(jobs, results, strict=False):
            failures[job.cell] = failures[job.cell] + 1 if earlier.problem else 0
        tasks = (replace(job, given_up=failures[job.cell] >= MAX_FAILURES) for job in left)  # read while results come in
        for job, result in workers.run_each(work, tasks, TIMEOUT_S, len(left), inline=True):
            if failures[job.cell] >= MAX_FAILURES:
                result = _discard(out, result)
            if isinstance(result, Failed):
                advice = LOST_ADVICE if result.reason == LOST else "the same command resumes from here"
                raise PrepError(f"{job.name} failed: {result.detail}; {advice}")
            failures[job.cell] = failures[job.cell] + 1 if result.problem else 0
            lines.write(json.dumps(asdict(result)) + "\n")
            lines.flush()
            results.append(result)
            progress.step(ok=not result.problem)
    return list(zip(jobs, results, strict=True))


def _discard(out: Path, result: SpliceResult | Failed) -> SpliceResult:
    """Delete the videos of a job whose cell was given up."""
    for clip in result.clips if isinstance(result, SpliceResult) else ():
        with output_errors(out / clip["path"]):
            (out / clip["path"]).unlink(missing_ok=True)
    return GIVEN_UP


def _finished(journal: Path, out: Path) -> list[SpliceResult]:
    """The results in a journal, up to a line that was cut short or is damaged, or whose videos were deleted since."""
    results: list[SpliceResult] = []
    if journal.exists():
        for line in journal.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                result = SpliceResult(**parse_json(line))
                if not all((out / clip["path"]).is_file() for clip in result.clips):
                    break
            except (ValueError, TypeError, KeyError):
                break
            results.append(result)
    return results


def write_tables(out: Path, config: SplicingConfig, results: list[tuple[SpliceJob, SpliceResult]], command: str) -> list[str]:
    """Write suite.parquet, quads.parquet and calibration.parquet. Returns the lines of a summary.

    Raises PrepError where no quadruplet could be made for the test.
    """
    made = [(job, result) for job, result in results if result.clips]
    suite = [(job, result) for job, result in made if job.kind != "calibration"]
    problems = Counter((job.splice, result.problem) for job, result in results if result.problem)
    lines = [f"{name}: {count} not made: {problem}" for (name, problem), count in problems.items()]
    if all(job.kind != "test" for job, _ in suite):
        raise PrepError("no quadruplet could be made for the test\n  " + "\n  ".join(lines))
    settings = config.model_dump(mode="json")
    write_quads(out / "quads.parquet", iter([row for _, result in suite for row in result.quads]), settings)
    clips = [Clip(**clip) for _, result in suite for clip in result.clips]
    write_manifest(out / "suite.parquet", clips, command=command, config=settings)
    calibration = [Clip(**clip) for job, result in made if job.kind == "calibration" for clip in result.clips]
    if calibration:
        settings = {**settings, "kind": "calibration"}
        write_manifest(out / "calibration.parquet", calibration, command=command, config=settings)
    counts = Counter((job.splice, job.kind) for job, _ in suite)
    for name in dict.fromkeys(job.splice for job, _ in suite):
        lines.append(f"{name}: {counts[name, 'test']} quadruplets for the test, {counts[name, 'val']} for the context length")
    lines.append(f"{out / 'suite.parquet'}: {len(clips)} videos; {len(calibration)} possible videos for calibration")
    return lines
