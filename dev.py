"""Set up and run, from a bare Python 3.10 or newer: everything goes into .venv beside this file.

    python3 dev.py demo                   from films to a trained world model and a film of what it imagines
    python3 dev.py demo --videos DIR      the same on the videos of a folder of yours
    python3 dev.py demo --quick           the same, shortened to two minutes
    python3 dev.py test [--fast] [...]    the checks of `lint`, then pytest; further arguments go to pytest (-k name)
    python3 dev.py lint                   ruff check, ruff format --check, mypy

Standard library only. The first call installs (minutes); later ones begin at once until pyproject.toml changes.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if sys.version_info < (3, 10):  # noqa: UP036 - `python3` may be any; the grammar here is one that 3.6 can read this far
    sys.exit(f"dev.py: Python 3.10 or newer is needed, this is {platform.python_version()}; see python.org")

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
ASKED = ("probe", "forecast")  # commands of eval that a demo's model is asked by next
STAMP = VENV / "installed.json"  # written last, so an install that was cut short is done again
TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

CHECKS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
}
FILMS, QUICK_FILMS = 7500, 100
QUICK = ["train.max_steps=120", "optim.warmup_steps=20", "health.every=40", "checkpoint.every=40"]
QUICK += ["decoder.max_steps=80", "decoder.windows=64"]
DIGEST = "import sys; from worldmodel.manifest import Manifest; print(Manifest.open(sys.argv[1]).digest())"
LAUNCH = ["-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # said, so that it does not warn of its defaults


class StepError(Exception):
    """Something failed: the program ends with this message and this exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def set_up() -> None:
    """Make .venv and install the project into it, unless that stands already."""
    wanted = stamp()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted:
        return
    STAMP.unlink(missing_ok=True)
    if not is_venv_of(sys.version_info[:2]):
        missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
        if missing:
            raise StepError(
                f"this Python has no {' and no '.join(missing)}, needed to make .venv; install it (Debian, Ubuntu: "
                f"sudo apt install python3.{sys.version_info[1]}-venv) or use a Python from python.org"
            )
        step("making .venv", [[sys.executable, "-m", "venv", "--clear", str(VENV)]])
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    if not installed("torch"):
        tries = torch_tries(sys.platform, has_nvidia_driver())
        build = "plain" if len(tries) < 3 else "small CPU build if there is one"
        step(f"installing torch {TORCH} ({build})", [pip + arguments for arguments in tries])
    constraints = VENV / "constraints.txt"
    constraints.write_text(f"torch=={installed('torch')}\n", encoding="utf-8")
    rest = [*pip, "--constraint", str(constraints), "--editable", f"{HERE}[dev]"]
    step(f"installing worldmodel and its tools beside torch {installed('torch')}", [rest])
    STAMP.write_text(wanted, encoding="utf-8")


def stamp() -> str:
    """What an install depends on; another stamp means: install again."""
    project = hashlib.sha256((HERE / "pyproject.toml").read_bytes()).hexdigest()
    return json.dumps({"pyproject": project, "python": platform.python_version(), "folder": str(HERE)})


def is_venv_of(version: tuple[int, ...]) -> bool:
    """Whether .venv has this Python and pip (an interrupted `venv` leaves none)."""
    ask = "import pip, sys; print(*sys.version_info[:2])"
    return PYTHON.exists() and output_of([str(PYTHON), "-c", ask]) == " ".join(map(str, version))


def has_nvidia_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()


def torch_tries(system: str, nvidia: bool) -> list[list[str]]:
    """pip's arguments, to be tried in turn: only on Linux is the plain build gigabytes of CUDA, so without NVIDIA the small
    one is asked for there, of the indexes pip knows, then of PyTorch's own, whose absence must not cost time.
    """
    plain = [[f"torch=={TORCH}"], ["torch>=2.7"]]
    if system != "linux" or nvidia:
        return plain
    small = [f"torch=={TORCH}", "--index-url", CPU_INDEX, "--timeout", "10", "--retries", "0"]
    return [[f"torch=={TORCH}+cpu"], small, *plain]


def installed(package: str) -> str:
    """Its version in .venv, empty when it is not there."""
    ask = f"import importlib.metadata as m; print(next((d.version for d in m.distributions(name={package!r})), ''))"
    return output_of([str(PYTHON), "-c", ask])


def step(what: str, tries: list[list[str]]) -> None:
    """Run commands until one succeeds; one line with the time it took. Their output is shown only when all fail."""
    print(f"{what} ... ", end="", flush=True)
    start, said = time.monotonic(), ""
    for number, command in enumerate(tries, 1):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode == 0:
            print(f"{time.monotonic() - start:.0f} s{f', at try {number}' if number > 1 else ''}", flush=True)
            return
        said += done.stdout
    print(f"failed\n{said.rstrip()}", flush=True)
    raise StepError(f"{what}: failed; the lines above say why")


def output_of(command: list[str]) -> str:
    """What a command prints, empty when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=HERE)
    return done.stdout.strip() if done.returncode == 0 else ""


def run(arguments: list[str]) -> int:
    """Run .venv's python in the project's folder with its output on this terminal; its exit code."""
    waiting_threads_sleep = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # worldmodel/train.py says why
    return subprocess.run([str(PYTHON), *arguments], cwd=HERE, env=waiting_threads_sleep).returncode


def check(pytest_arguments: list[str] | None) -> None:
    """All checks, then pytest unless None; whatever fails, the rest still runs."""
    jobs = CHECKS if pytest_arguments is None else CHECKS | {"pytest": ["-m", "pytest", *pytest_arguments]}
    failed = {}
    for name, arguments in jobs.items():
        print(f"-- {name}", flush=True)
        start = time.monotonic()
        code = run(arguments)
        if code:
            failed[name] = code
        print(f"   {'failed' if code else 'passed'} in {time.monotonic() - start:.0f} s", flush=True)
    if failed:
        raise StepError(f"failed: {', '.join(failed)}", next(iter(failed.values())))


def demo(videos: Path | None, quick: bool) -> None:
    """The main job, each part a child process; then where the film lies and how healthy the model is."""
    name = run_name = demo_name(videos, quick)
    data_parts = 2 if videos else 0
    run_parts(demo_parts(name, videos, quick)[:data_parts])
    if videos:
        run_name = run_of(name, HERE / "films" / name / "small" / "manifest.parquet")
        print(f"\n{videos}: small copies are in films/{name}, the model goes to runs/{run_name}", flush=True)
    run_parts(demo_parts(name, videos, quick, run_name)[data_parts:])
    run_folder = HERE / "runs" / run_name
    films = sorted((run_folder / "films").glob("*.mp4"), key=lambda film: film.stat().st_mtime)
    pages = {"training report": run_folder / "report.html", "physics report": run_folder / "physics" / "report.html"}
    ends = [("film", str(films[-1]) if films else "none was made")]
    ends += [(label, str(page)) for label, page in pages.items() if page.exists()]
    print()
    for label, value in [*summary(run_folder), *ends]:
        print(f"{label:<18}{value}")
    print("\nand then")
    for command in next_commands(f"runs/{run_name}", physics=not videos and not quick):
        print(f"    {Path(PYTHON).relative_to(HERE)} {command}")


def run_parts(parts: list[tuple[str, list[str]]]) -> None:
    """One after another, each as a child process. Raises StepError for one that fails."""
    for what, arguments in parts:
        print(f"\n-- {what}", flush=True)
        code = run(arguments)
        if code:
            raise StepError(f"{what}: ended with exit code {code}; the lines above say why", code)


def demo_name(videos: Path | None, quick: bool) -> str:
    """The name of the demo's folders. Two folders of videos have two names, also where both are called `videos`."""
    if videos is None:
        name = "demo"
    else:
        digits = hashlib.sha256(os.path.normcase(videos.resolve()).encode(errors="surrogateescape")).hexdigest()[:6]
        name = "_".join([re.sub(r"\W+", "_", videos.name) or "videos", digits])
    return name + ("_quick" if quick else "")


def run_of(name: str, manifest: Path) -> str:
    """The run that these videos are trained in: NAME, or NAME_2, NAME_3 where those before hold a model of other videos."""
    digest = output_of([str(PYTHON), "-c", DIGEST, str(manifest)])
    if not digest:
        raise StepError(f"{manifest} cannot be read; delete {manifest.parent.parent} and start the demo again")
    number, run_name = 1, name
    while model_of_others(HERE / "runs" / run_name, digest):
        number += 1
        before, run_name = run_name, f"{name}_{number}"
        print(
            f"\nruns/{before} holds a model of other videos: they were changed since. A new one is trained in runs/{run_name}"
        )
    return run_name


def model_of_others(run_folder: Path, digest: str) -> bool:
    """Whether a run's last checkpoint was trained on other data than those of this digest."""
    states = sorted((run_folder / "checkpoints").glob("[0-9]*/state.json"))
    return bool(states) and json.loads(states[-1].read_text(encoding="utf-8")).get("data") != [digest]


def next_commands(run_folder: str, physics: bool) -> list[str]:
    """What one may ask of the model that the demo made: in words for .venv's python."""
    ask = [f"-m eval {name} --model {run_folder} --data films/mini/lawful.parquet --out {run_folder}/{name}" for name in ASKED]
    return [*(ask if physics else []), f"-m worldmodel.rollout {run_folder} --samples 4"]


def demo_parts(name: str, videos: Path | None, quick: bool, run_name: str = "") -> list[tuple[str, list[str]]]:
    """What the demo does, in order: a title, and the arguments of .venv's python.

    Videos go to films/NAME, the model to runs/RUN_NAME (default NAME). With `videos`, the first two parts prepare them.
    """
    films, run_folder = f"films/{name}", f"runs/{run_name or name}"
    if videos:
        found, small, manifest = f"{films}/videos.parquet", f"{films}/small", f"{films}/small/manifest.parquet"
        parts = [
            (f"index {videos}", ["-m", "data_prep", "index", str(videos), "--out", found]),
            ("make them small, to read fast", ["-m", "data_prep", "transcode", found, "--out", small]),
        ]
    else:
        manifest, count = f"{films}/train.parquet", str(QUICK_FILMS if quick else FILMS)
        parts = [("make films", ["-m", "data_prep", "synthesize", films, "--train", count])]
        parts = [] if (HERE / manifest).exists() else parts
    recipe = f"configs/{'videos' if videos else 'demo'}.yaml"
    overrides = [f"data.manifest={manifest}", f"run={run_folder}", *(QUICK if quick else [])]
    return [
        *parts,
        ("train", [*LAUNCH, "worldmodel/train.py", recipe, *overrides]),
        ("did it learn, is it healthy?", ["-m", "eval", "report", run_folder]),
        ("imagine and draw", ["-m", "worldmodel.rollout", run_folder]),
        ("store what `eval score` compares with", ["-m", "eval", "score", "--model", run_folder]),
        *([] if videos else physics_parts(run_folder, quick)),
    ]


def physics_parts(run_folder: str, quick: bool) -> list[tuple[str, list[str]]]:
    """Is the model surprised by the impossible? On films that are made once; few, and no untrained networks, if quick."""
    size = "nano" if quick else "mini"
    suite = f"films/{size}"
    ask = ["-m", "eval", "physics", "--model", run_folder, "--suite", f"builtin:{suite}", "--out", f"{run_folder}/physics"]
    make = [("make matched films, possible and impossible", ["-m", "data_prep", "synthesize", suite, "--suite", size])]
    return [
        *([] if (HERE / suite / "lawful.parquet").exists() else make),
        ("is it surprised by the impossible?", [*ask, "--fresh", "--untrained-seeds", "0" if quick else "3"]),
    ]


def summary(run_folder: Path) -> list[tuple[str, str]]:
    """Label and value: the last word of a run's health.jsonl, and what its metrics.jsonl says of work and speed."""
    table: list[tuple[str, str]] = []
    for health in rows(run_folder / "health.jsonl")[-1:]:
        table = [("verdict", health["verdict"]), *skills(health)]
        if health.get("effective_rank") is not None:
            table.append(("effective rank", f"{health['effective_rank']:.1f}"))
    metrics = rows(run_folder / "metrics.jsonl")
    speeds = [row["clips_per_s"] for row in metrics if row.get("clips_per_s")]
    if speeds:
        table.append(("updates", str(metrics[-1]["step"])))
        table.append(("clips per second", f"{statistics.median(speeds):.0f}"))
    return table


def skills(health: dict[str, Any]) -> list[tuple[str, str]]:
    """Forecast skill against the better of copy and mean, by horizon, nearest first."""
    horizons = sorted((key.partition("/")[2] for key in health if key.startswith("skill_copy/")), key=float)
    pairs = [(f"skill at {h} s", health[f"skill_copy/{h}"], health[f"skill_mean/{h}"]) for h in horizons]
    return [(label, f"{min(copy, mean):.2f}") for label, copy, mean in pairs if None not in (copy, mean)]


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; none when it is missing. A last line cut short by a kill is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,test,lint}")
    demo_parser = commands.add_parser("demo", allow_abbrev=False)
    demo_parser.add_argument("--videos", type=Path, metavar="DIR", help="a folder of videos; without it films are made")
    demo_parser.add_argument("--quick", action="store_true", help="two minutes after the install")
    test_parser = commands.add_parser("test", allow_abbrev=False)
    test_parser.add_argument("--fast", action="store_true", help="leave out the tests marked slow")
    commands.add_parser("lint", allow_abbrev=False)
    args, others = parser.parse_known_args(arguments)
    if others and args.command != "test":
        parser.error(f"unknown: {' '.join(others)}")
    try:
        if args.command == "demo" and args.videos and not args.videos.is_dir():
            raise StepError(f"--videos {args.videos}: no such folder")
        set_up()
        if args.command == "demo":
            demo(args.videos.resolve() if args.videos else None, args.quick)
        else:
            check(None if args.command == "lint" else [*(["-m", "not slow"] if args.fast else []), *others])
    except StepError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from worldmodel.process.streams import survive_broken_streams  # of the standard library alone, as this file

    survive_broken_streams()
    sys.exit(main(sys.argv[1:]))
