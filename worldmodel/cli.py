"""The console command `worldmodel`: each command is a module that `python -m MODULE` runs as well.

worldmodel train [RECIPE] [a.b=value ...]     several processes: accelerate launch -m worldmodel.train
worldmodel rollout RUN                        videos of what a trained model predicts
worldmodel recipe show [RECIPE]               the complete recipe, every field explained
worldmodel estimate RECIPE --kind h100        memory, FLOPs, traffic and time, without data or GPU
worldmodel export RUN --to hf:FOLDER          weights in the layout of other projects
worldmodel data COMMAND ...                   make data sets
worldmodel eval COMMAND ...                   evaluate a model
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from worldmodel.process.streams import survive_broken_streams

MODULES = {
    "train": "worldmodel.train",
    "rollout": "worldmodel.rollout",
    "recipe": "worldmodel.recipe",
    "estimate": "worldmodel.estimate",
    "export": "worldmodel.export",
    "data": "data_prep",
    "eval": "eval",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one module as `python -m` would, with the remaining arguments. Exit code 2 for an unknown command."""
    survive_broken_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command in ("", "-h", "--help"):
        print(__doc__, end="")
        return 0 if command else 2
    if command not in MODULES:
        print(f"worldmodel: there is no command {command!r}; the commands are {', '.join(MODULES)}", file=sys.stderr)
        return 2
    sys.argv = [f"worldmodel {command}", *arguments[1:]]
    runpy.run_module(MODULES[command], run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
