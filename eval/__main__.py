"""`python -m eval COMMAND ...`: each command is a module with HELP, add_arguments(parser) and run(args) -> int."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from worldmodel.process import interrupts, streams
from worldmodel.process.arguments import check_text
from worldmodel.process.terminal import never_fail_to_print, say

COMMANDS = {
    "physics": "eval.commands.voe",
    "rescore": "eval.commands.rescore",
    "compare": "eval.commands.compare",
    "score": "eval.commands.plausibility",
    "export": "eval.commands.submit",
    "probe": "eval.commands.probe",
    "forecast": "eval.commands.forecast",
    "ablate": "eval.commands.ablate",
    "tradeoff": "eval.commands.tradeoff",
    "report": "eval.commands.report",
    "doctor": "eval.commands.validate",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error of the user's world is one line and exit code 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded: threads that wait shall sleep
    arguments = sys.argv[1:] if arguments is None else arguments
    named = [name for name in arguments[:1] if name in COMMANDS]  # alone loaded: some need no torch and start at once
    modules = {name: importlib.import_module(COMMANDS[name]) for name in named or COMMANDS}
    parser = argparse.ArgumentParser(prog="python -m eval", description="Measure what a model knows.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in modules.items():
        as_written = argparse.RawDescriptionHelpFormatter  # the lines of docstrings
        said = commands.add_parser(name, help=module.HELP, description=module.__doc__, formatter_class=as_written)
        module.add_arguments(said)
    args = parser.parse_args(arguments)
    check_text(parser, args, but=("files",))  # `eval score` reports each file by itself
    never_fail_to_print()
    interrupts.raise_from_now_on()
    try:
        return int(modules[args.command].run(args))
    except KeyboardInterrupt:
        resumes = getattr(modules[args.command], "RESUMES", False)
        return interrupts.stopped(f"eval {args.command}", "the same command again goes on from here" * resumes)
    except errors_of_the_user() as error:
        say(f"eval {args.command}: {error}", file=sys.stderr)
        return 2


def errors_of_the_user() -> tuple[type[Exception], ...]:
    """What is told in one line. Asked for only once something was raised: the rooms these live in load torch."""
    from eval.errors import EvalError
    from eval.voe.trials import TrialError
    from worldmodel.checkpoint import CheckpointError
    from worldmodel.config import ConfigError
    from worldmodel.files.folder_lock import FolderLockError
    from worldmodel.files.outputs import ForeignFileError
    from worldmodel.manifest import ManifestError
    from worldmodel.models.pretrained.layouts import PretrainedError
    from worldmodel.models.world_model import ReachError
    from worldmodel.ranks.watched import RankError
    from worldmodel.video import VideoError

    asked = EvalError, TrialError, CheckpointError, PretrainedError, ReachError, ConfigError, ManifestError, VideoError
    return *asked, FolderLockError, ForeignFileError, RankError, OSError


if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("eval")
    os.environ.setdefault("MUJOCO_GL", "disable")  # data_prep/__main__.py says why
    code = main()
    if "WORLD_SIZE" in os.environ:  # one of several: not sys.exit, which waits for ranks that may be gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
