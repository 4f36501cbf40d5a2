"""`python -m data_prep COMMAND ...`: each command is a module with HELP, add_arguments(parser) and run(args) -> int."""

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
    # the ray caster needs no OpenGL, and the process that MuJoCo starts to look for it answers Ctrl-C with a traceback
    os.environ.setdefault("MUJOCO_GL", "disable")

from data_prep.commands import index, show, synthesize, transcode
from data_prep.commands import inspect as probe
from data_prep.errors import PrepError
from worldmodel.files.folder_lock import FolderLockError
from worldmodel.files.output_errors import OutputError
from worldmodel.manifest import ManifestError
from worldmodel.process.arguments import check_text
from worldmodel.process.terminal import never_fail_to_print, say
from worldmodel.video import VideoError

COMMANDS: dict[str, ModuleType] = {
    "probe": probe,
    "index": index,
    "transcode": transcode,
    "synthesize": synthesize,
    "show": show,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error of the user's world is one line and exit code 1 (2 for a wrong command line)."""
    parser = argparse.ArgumentParser(prog="python -m data_prep", description="Make data sets for training.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        as_written = argparse.RawDescriptionHelpFormatter  # the lines of docstrings
        said = commands.add_parser(name, help=module.HELP, description=module.__doc__, formatter_class=as_written)
        module.add_arguments(said)
    args = parser.parse_args(arguments)
    check_text(parser, args)
    never_fail_to_print()
    interrupts.raise_from_now_on()
    try:
        return COMMANDS[args.command].run(args)
    except (PrepError, ManifestError, VideoError, FolderLockError) as error:
        say(f"data_prep {args.command}: {error}", file=sys.stderr)
        return 1
    except OutputError as error:
        resumed = "; the same command again goes on from here" if getattr(COMMANDS[args.command], "RESUMES", False) else ""
        say(f"data_prep {args.command}: {error}{resumed}", file=sys.stderr)
        return 1
    except OSError as error:
        say(f"data_prep {args.command}: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return interrupts.stopped(f"data_prep {args.command}", "the same command again goes on from here")


if __name__ == "__main__":
    sys.exit(main())
