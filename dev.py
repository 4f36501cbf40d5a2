"""Set up and run, from a bare Python 3.10 or newer: everything goes into .venv next to this file.

    python3 dev.py demo                   generate videos, train a world model, evaluate it, and show rollouts
    python3 dev.py demo --videos DIR      the same on the videos of a folder of yours
    python3 dev.py demo --quick           the same, shortened to two minutes
    python3 dev.py test [--fast] [...]    the checks of `lint`, then pytest; further arguments go to pytest (-k name)
    python3 dev.py lint                   ruff check, ruff format --check, mypy
    python3 dev.py docs                   build the documentation site into site/; a broken link is an error

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

if sys.version_info < (3, 10):  # noqa: UP036 - `python3` may be older; Python 3.6 can parse this file
    sys.exit(f"dev.py: Python 3.10 or newer is needed, this is {platform.python_version()}; see python.org")

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
NEXT_EVALS = ("probe", "forecast")  # commands of eval that are suggested after the demo
STAMP = VENV / "installed.json"  # written last, so that an interrupted install is repeated
TORCH = "2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# A further `-n 0` turns this off.
PARALLEL = ["-n", "logical", "--maxprocesses", "8", "--dist", "loadscope", "--max-worker-restart", "2"]
CHECKS = {
    "ruff check": ["-m", "ruff", "check", "."],
    "ruff format": ["-m", "ruff", "format", "--check", "."],
    "mypy": ["-m", "mypy"],
}
TRAIN_VIDEOS, QUICK_TRAIN_VIDEOS = 7500, 100
SMALL = ["--suite", "small", "--properties", "permanence,continuity,colour"]
WORLDS = {  # small suites, by folder: what `data_prep synthesize` is given
    "unseen": [*SMALL, "--quadruplets", "0", "--unseen", "60"],
    "flat": [*SMALL, "--world", "flat"],
    "lookaway": [*SMALL, "--world", "lookaway"],
    "dynamics": ["--suite", "small", "--world", "dynamics", "--quadruplets", "12"],
}
QUICK = ["train.max_steps=120", "optim.warmup_steps=20", "health.every=40", "checkpoint.every=40"]
QUICK += ["decoder.max_steps=80", "decoder.windows=64"]
DIGEST = "import sys; from worldmodel.manifest import Manifest; print(Manifest.open(sys.argv[1]).digest())"
LAUNCH = ["-m", "accelerate.commands.launch", "--num_processes", "1", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # stated, so that it does not warn about its defaults


class StepError(Exception):
    """The program ends with this message and this exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def set_up() -> None:
    """Make .venv and install the project into it, unless this is done already."""
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
    step(f"installing worldmodel and its tools, with torch {installed('torch')}", [rest])
    STAMP.write_text(wanted, encoding="utf-8")


def stamp() -> str:
    """What an install depends on. If it changes, the project is installed again."""
    project = hashlib.sha256((HERE / "pyproject.toml").read_bytes()).hexdigest()
    return json.dumps({"pyproject": project, "python": platform.python_version(), "folder": str(HERE)})


def is_venv_of(version: tuple[int, ...]) -> bool:
    """Whether .venv has this Python and pip (an interrupted `venv` leaves none)."""
    code = "import pip, sys; print(*sys.version_info[:2])"
    return PYTHON.exists() and output_of([str(PYTHON), "-c", code]) == " ".join(map(str, version))


def has_nvidia_driver() -> bool:
    return shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()


def torch_tries(system: str, nvidia: bool) -> list[list[str]]:
    """Lists of pip arguments that install torch, to be tried one after another.

    On Linux the plain build includes gigabytes of CUDA. Without an NVIDIA driver, the small CPU build is tried first: from the
    indexes that pip is configured for, then from the index of PyTorch, with a short timeout in case it cannot be reached.
    """
    plain = [[f"torch=={TORCH}"], ["torch>=2.7"]]
    if system != "linux" or nvidia:
        return plain
    small = [f"torch=={TORCH}", "--index-url", CPU_INDEX, "--timeout", "10", "--retries", "0"]
    return [[f"torch=={TORCH}+cpu"], small, *plain]


def installed(package: str) -> str:
    """The version of a package in .venv; empty if it is not installed."""
    code = f"import importlib.metadata as m; print(next((d.version for d in m.distributions(name={package!r})), ''))"
    return output_of([str(PYTHON), "-c", code])


def step(title: str, tries: list[list[str]]) -> None:
    """Run commands until one succeeds, and print the time it took. Their output is shown only if all fail."""
    print(f"{title} ... ", end="", flush=True)
    start, output = time.monotonic(), ""
    for number, command in enumerate(tries, 1):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode == 0:
            print(f"{time.monotonic() - start:.0f} s{f', at try {number}' if number > 1 else ''}", flush=True)
            return
        output += done.stdout
    print(f"failed\n{output.rstrip()}", flush=True)
    raise StepError(f"{title}: failed; see the lines above")


def output_of(command: list[str]) -> str:
    """The output of a command; empty if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=HERE)
    return done.stdout.strip() if done.returncode == 0 else ""


def run(arguments: list[str]) -> int:
    """Run the Python of .venv in the project folder, with its output on this terminal, and return its exit code."""
    return subprocess.run([str(PYTHON), *arguments], cwd=HERE).returncode


def check(pytest_arguments: list[str] | None) -> None:
    """Run all checks, then pytest unless its arguments are None. A failure does not prevent the rest."""
    jobs = CHECKS if pytest_arguments is None else CHECKS | {"pytest": ["-m", "pytest", *PARALLEL, *pytest_arguments]}
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


def build_docs() -> None:
    """Build the documentation site. Raises StepError for broken links and other warnings."""
    if not (installed("mkdocs-material") and installed("mkdocstrings-python")):
        pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        step("installing the tools that build the site", [[*pip, "--editable", f"{HERE}[docs]"]])
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    code = run(["-m", "mkdocs", "build", "--strict", "--quiet"])
    if code:
        raise StepError("docs: failed; see the lines above", code)
    print(f"{HERE / 'site' / 'index.html'}")


def demo(videos: Path | None, quick: bool) -> None:
    """Run all parts of the demo, each as a child process; then print the results and where they are."""
    name = run_name = demo_name(videos, quick)
    data_parts = 3 if videos else 0
    run_parts(demo_parts(name, videos, quick)[:data_parts])
    if videos:
        run_name = run_of(name, HERE / "data" / name / "small" / "curated.parquet")
        print(f"\n{videos}: small copies are in data/{name}, the model goes to runs/{run_name}", flush=True)
    run_parts(demo_parts(name, videos, quick, run_name)[data_parts:])
    run_folder = HERE / "runs" / run_name
    rollouts = sorted((run_folder / "rollouts").glob("*.mp4"), key=lambda file: file.stat().st_mtime)
    pages = {"training report": run_folder / "report.html", "VoE report": run_folder / "voe" / "report.html"}
    pages |= {"table of worlds": run_folder / "worlds" / "worlds.html"}
    files = [("rollout", str(rollouts[-1]) if rollouts else "none")]
    files += [(label, str(page)) for label, page in pages.items() if page.exists()]
    print()
    for label, value in [*summary(run_folder), *files]:
        print(f"{label:<20}{value}")
    print("\nNext steps:")
    for command in next_commands(f"runs/{run_name}", has_suite=not videos and not quick):
        print(f"    {Path(PYTHON).relative_to(HERE)} {command}")


def run_parts(parts: list[tuple[str, list[str]]]) -> None:
    """Run parts one after another, each as a child process. Raises StepError if one fails."""
    for title, arguments in parts:
        print(f"\n-- {title}", flush=True)
        code = run(arguments)
        if code:
            raise StepError(f"{title}: ended with exit code {code}; see the lines above", code)


def demo_name(videos: Path | None, quick: bool) -> str:
    """The name of the folders of the demo. It differs for two folders of videos that are both called `videos`."""
    if videos is None:
        name = "demo"
    else:
        digits = hashlib.sha256(os.path.normcase(videos.resolve()).encode(errors="surrogateescape")).hexdigest()[:6]
        name = "_".join([re.sub(r"\W+", "_", videos.name) or "videos", digits])
    return name + ("_quick" if quick else "")


def run_of(name: str, manifest: Path) -> str:
    """The run to train on these videos: NAME, or NAME_2, NAME_3, ... if those before hold a model of other videos."""
    digest = output_of([str(PYTHON), "-c", DIGEST, str(manifest)])
    if not digest:
        raise StepError(f"{manifest} cannot be read; delete {manifest.parent.parent} and start the demo again")
    number, run_name = 1, name
    while is_trained_on_other_data(HERE / "runs" / run_name, digest):
        number += 1
        before, run_name = run_name, f"{name}_{number}"
        print(
            f"\nruns/{before} holds a model of other videos, because the folder changed. "
            f"A new model is trained in runs/{run_name}"
        )
    return run_name


def is_trained_on_other_data(run_folder: Path, digest: str) -> bool:
    """Whether the last checkpoint of a run was trained on data with another digest."""
    states = sorted((run_folder / "checkpoints").glob("[0-9]*/state.json"))
    return bool(states) and json.loads(states[-1].read_text(encoding="utf-8")).get("data") != [digest]


def next_commands(run_folder: str, has_suite: bool) -> list[str]:
    """Commands to try after the demo: arguments of the Python of .venv. has_suite: whether the mini suite was generated."""
    data = "data/mini/calibration.parquet"
    evals = [f"-m eval {name} --model {run_folder} --data {data} --out {run_folder}/{name}" for name in NEXT_EVALS]
    return [*(evals if has_suite else []), f"-m worldmodel.rollout {run_folder} --samples 4"]


def demo_parts(name: str, videos: Path | None, quick: bool, run_name: str = "") -> list[tuple[str, list[str]]]:
    """The parts of the demo in order: title, and arguments of the Python of .venv.

    Videos are written to data/NAME, the model to runs/RUN_NAME (default NAME). With `videos`, the first three parts prepare
    them.
    """
    folder, run_folder = f"data/{name}", f"runs/{run_name or name}"
    if videos:
        found, small, manifest = f"{folder}/videos.parquet", f"{folder}/small", f"{folder}/small/curated.parquet"
        parts = [
            (f"index {videos}", ["-m", "data_prep", "index", str(videos), "--out", found]),
            ("make small copies that decode fast", ["-m", "data_prep", "transcode", found, "--out", small]),
            (
                "leave out camera cuts, black and frozen parts",
                ["-m", "data_prep", "curate", f"{small}/manifest.parquet", "--out", manifest],
            ),
        ]
    else:
        manifest, count = f"{folder}/train.parquet", str(QUICK_TRAIN_VIDEOS if quick else TRAIN_VIDEOS)
        parts = [("generate training videos", ["-m", "data_prep", "synthesize", folder, "--train", count])]
        parts = [] if (HERE / manifest).exists() else parts
    recipe = f"configs/{'videos' if videos else 'demo'}.yaml"
    overrides = [f"data.manifest={manifest}", f"run={run_folder}", *(QUICK if quick else [])]
    return [
        *parts,
        ("train", [*LAUNCH, "worldmodel/train.py", recipe, *overrides]),
        ("training report", ["-m", "eval", "report", run_folder]),
        ("rollouts of held-out videos", ["-m", "worldmodel.rollout", run_folder]),
        ("store the reference distribution of `eval plausibility`", ["-m", "eval", "plausibility", "--model", run_folder]),
        *([] if videos else voe_parts(run_folder, quick)),
    ]


def voe_parts(run_folder: str, quick: bool) -> list[tuple[str, list[str]]]:
    """Violation of expectation on a suite that is generated once. If quick, a small suite and no untrained networks."""
    size = "nano" if quick else "mini"
    suite = f"data/{size}"
    evaluate = ["-m", "eval", "voe", "--model", run_folder, "--suite", f"builtin:{suite}", "--out", f"{run_folder}/voe"]
    title = "generate matched possible and impossible videos"
    generate = [(title, ["-m", "data_prep", "synthesize", suite, "--suite", size])]
    return [
        *([] if (HERE / suite / "calibration.parquet").exists() else generate),
        ("violation of expectation", [*evaluate, "--fresh", "--untrained-seeds", "0" if quick else "1"]),
        *([] if quick else worlds_parts(run_folder)),
    ]


def worlds_parts(run_folder: str) -> list[tuple[str, list[str]]]:
    """The same model on small suites of other worlds, and all of them in one table."""
    generate, suites = [], []
    for name, options in WORLDS.items():
        folder = f"data/worlds/{name}"
        suites += ["--suite", f"builtin:{folder}"]
        if not (HERE / folder / "calibration.parquet").exists():
            generate.append((f"generate videos of other worlds: {name}", ["-m", "data_prep", "synthesize", folder, *options]))
    out = f"{run_folder}/worlds"
    evaluate = ["-m", "eval", "voe", "--model", run_folder, *suites, "--out", out, "--untrained-seeds", "0", "--fresh"]
    table = ["-m", "eval", "worlds", f"{run_folder}/voe", *(f"{out}/{name}" for name in WORLDS), "--out", out]
    return [*generate, ("violation of expectation in other worlds", evaluate), ("one model in several worlds", table)]


def summary(run_folder: Path) -> list[tuple[str, str]]:
    """(label, value): the last row of health.jsonl, and steps and speed from metrics.jsonl."""
    table: list[tuple[str, str]] = []
    for health in rows(run_folder / "health.jsonl")[-1:]:
        table = [("verdict", health["verdict"]), *skills(health)]
        if health.get("effective_rank") is not None:
            table.append(("effective rank", f"{health['effective_rank']:.1f}"))
    metrics = rows(run_folder / "metrics.jsonl")
    speeds = [row["samples_per_s"] for row in metrics if row.get("samples_per_s")]
    if speeds:
        table.append(("training steps", str(metrics[-1]["step"])))
        table.append(("windows per second", f"{statistics.median(speeds):.0f}"))
    return table


def skills(health: dict[str, Any]) -> list[tuple[str, str]]:
    """Forecast skill against the better of the baselines copy and mean, by ascending horizon."""
    horizons = sorted((key.partition("/")[2] for key in health if key.startswith("skill_copy/")), key=float)
    pairs = [(f"skill at {h} s", health[f"skill_copy/{h}"], health[f"skill_mean/{h}"]) for h in horizons]
    return [(label, f"{min(copy, mean):.2f}") for label, copy, mean in pairs if None not in (copy, mean)]


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file; none if it is missing. A truncated last line is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,test,lint,docs}")
    demo_parser = commands.add_parser("demo", allow_abbrev=False)
    demo_parser.add_argument("--videos", type=Path, metavar="DIR", help="a folder of videos (default: videos are generated)")
    demo_parser.add_argument("--quick", action="store_true", help="two minutes after the install")
    test_parser = commands.add_parser("test", allow_abbrev=False)
    test_parser.add_argument("--fast", action="store_true", help="leave out the tests marked slow")
    commands.add_parser("lint", allow_abbrev=False)
    commands.add_parser("docs", allow_abbrev=False)
    args, others = parser.parse_known_args(arguments)
    if others and args.command != "test":
        parser.error(f"unknown: {' '.join(others)}")
    try:
        if args.command == "demo" and args.videos and not args.videos.is_dir():
            raise StepError(f"--videos {args.videos}: no such folder")
        set_up()
        if args.command == "demo":
            demo(args.videos.resolve() if args.videos else None, args.quick)
        elif args.command == "docs":
            build_docs()
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
    from worldmodel.process.streams import survive_broken_streams  # uses the standard library only, like this file

    survive_broken_streams()
    sys.exit(main(sys.argv[1:]))
