"""Run the commands of `python -m eval`.

A command is a module with HELP, add_arguments(parser) and run(args) -> int.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from worldmodel.process import interrupts, streams
from worldmodel.process.arguments import check_names
from worldmodel.process.cores import let_waiting_threads_sleep
from worldmodel.process.terminal import escape_unencodable_output, print_escaped

COMMANDS = {
    "voe": "eval.commands.voe",
    "rescore": "eval.commands.rescore",
    "compare": "eval.commands.compare",
    "worlds": "eval.commands.worlds",
    "plausibility": "eval.commands.plausibility",
    "submit": "eval.commands.submit",
    "probe": "eval.commands.probe",
    "forecast": "eval.commands.forecast",
    "plan": "eval.commands.plan",
    "sweep": "eval.commands.sweep",
    "report": "eval.commands.report",
    "validate": "eval.commands.validate",
}
ALIASES = {"physics": "voe"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. A user-facing error is printed in one line, with exit code 2."""
    let_waiting_threads_sleep()  # before torch is imported
    arguments = sys.argv[1:] if arguments is None else arguments
    named = [ALIASES.get(name, name) for name in arguments[:1] if name in {*COMMANDS, *ALIASES}]
    # only the named command is imported: some need no torch and start at once
    modules = {name: importlib.import_module(COMMANDS[name]) for name in named or COMMANDS}
    parser = argparse.ArgumentParser(prog="python -m eval", description="Evaluate what a model has learned.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in modules.items():
        keep_lines = argparse.RawDescriptionHelpFormatter
        aliases = [alias for alias, target in ALIASES.items() if target == name]
        subparser = commands.add_parser(
            name, aliases=aliases, help=module.HELP, description=module.__doc__, formatter_class=keep_lines
        )
        module.add_arguments(subparser)
        subparser.set_defaults(command=name)
    args = parser.parse_args(arguments)
    check_names(parser, args, except_names=("files",))  # `eval plausibility` reports each file by itself
    escape_unencodable_output()
    interrupts.raise_keyboard_interrupt()
    try:
        return int(modules[args.command].run(args))
    except KeyboardInterrupt:
        resumes = getattr(modules[args.command], "RESUMES", False)
        return interrupts.report_interrupt(f"eval {args.command}", "the same command again continues from here" * resumes)
    except user_errors() as error:
        print_escaped(f"eval {args.command}: {error}", file=sys.stderr)
        return 2


def user_errors() -> tuple[type[Exception], ...]:
    """Errors that are reported in one line.

    Imported only after an error, because their modules import torch.
    """
    from eval.errors import EvalError
    from eval.voe.trials import TrialError
    from worldmodel.checkpoint import CheckpointError
    from worldmodel.config import ConfigError
    from worldmodel.files.folder_lock import FolderLockError
    from worldmodel.files.outputs import ForeignFileError
    from worldmodel.manifest import ManifestError
    from worldmodel.models.pretrained.layouts import PretrainedError
    from worldmodel.models.world_model import ReachError
    from worldmodel.planning import PlanningError
    from worldmodel.ranks.start_monitors import RankError
    from worldmodel.video import VideoError

    found = EvalError, TrialError, CheckpointError, PretrainedError, ReachError, ConfigError, ManifestError, VideoError
    return *found, PlanningError, FolderLockError, ForeignFileError, RankError, OSError


if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("eval")
    os.environ.setdefault("MUJOCO_GL", "disable")  # data_prep/__main__.py says why
    code = main()
    if "WORLD_SIZE" in os.environ:  # one of several ranks: not sys.exit, which waits for ranks that may be gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
