"""`python -m data_prep COMMAND ...`.

Each command is a module with HELP, add_arguments(parser) and run(args) -> int.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from worldmodel.process import interrupts, streams

if __name__ == "__main__":
    streams.survive_broken_streams()
    interrupts.exit_at_once("data_prep")
    # The ray caster needs no OpenGL. Without this, MuJoCo starts a process that looks for it and
    # prints a traceback on Ctrl-C.
    os.environ.setdefault("MUJOCO_GL", "disable")

from data_prep.commands import (
    collect,
    curate,
    episodes,
    index,
    inspect,
    packets,
    quadruplets,
    shard,
    show,
    synthesize,
    transcode,
)
from data_prep.errors import PrepError
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.output_errors import OutputError
from worldmodel.manifest import ManifestError
from worldmodel.process.arguments import check_names
from worldmodel.process.terminal import escape_unencodable_output, print_escaped
from worldmodel.storage.errors import StorageError
from worldmodel.storage.urls import UrlError
from worldmodel.video import VideoError

RESUME_ADVICE = "the same command resumes from here"
COMMANDS: dict[str, ModuleType] = {
    "inspect": inspect,
    "index": index,
    "packets": packets,
    "transcode": transcode,
    "synthesize": synthesize,
    "collect": collect,
    "episodes": episodes,
    "curate": curate,
    "quadruplets": quadruplets,
    "shard": shard,
    "show": show,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Errors that the user can cause are reported in one line, with exit code 1 (2 for a wrong command
    line).
    """
    parser = argparse.ArgumentParser(prog="python -m data_prep", description="Prepare data sets for training.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        keep_lines = argparse.RawDescriptionHelpFormatter  # shows docstrings as they are
        command = commands.add_parser(name, help=module.HELP, description=module.__doc__, formatter_class=keep_lines)
        module.add_arguments(command)
    args = parser.parse_args(arguments)
    check_names(parser, args)
    escape_unencodable_output()
    interrupts.raise_keyboard_interrupt()
    try:
        return COMMANDS[args.command].run(args)
    except (PrepError, ManifestError, VideoError, FolderLockError, UrlError) as error:
        print_escaped(f"data_prep {args.command}: {error}", file=sys.stderr)
        return 1
    except (OutputError, StorageError) as error:
        advice = f"; {RESUME_ADVICE}" if getattr(COMMANDS[args.command], "RESUMES", False) else ""
        text = error.strerror if isinstance(error, StorageError) else error
        print_escaped(f"data_prep {args.command}: {text}{advice}", file=sys.stderr)
        return 1
    except OSError as error:
        print_escaped(f"data_prep {args.command}: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return interrupts.report_interrupt(f"data_prep {args.command}", RESUME_ADVICE)


if __name__ == "__main__":
    sys.exit(main())
