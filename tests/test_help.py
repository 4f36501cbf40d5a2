"""`--help` shows the docstring of a module, with its line breaks."""

import importlib
from collections.abc import Callable

import pytest

import worldmodel.rollout
import worldmodel.train
from data_prep import __main__ as data_prep_main
from eval import __main__ as eval_main

HELP_COMMANDS = [
    *((eval_main.main, [name, "--help"], importlib.import_module(path)) for name, path in eval_main.COMMANDS.items()),
    *((data_prep_main.main, [name, "--help"], module) for name, module in data_prep_main.COMMANDS.items()),
    *((module.main, ["--help"], module) for module in (worldmodel.train, worldmodel.rollout)),
]


@pytest.mark.parametrize(("main", "arguments", "module"), HELP_COMMANDS, ids=lambda entry: getattr(entry, "__name__", ""))
def test_help_shows_the_docstring_of_a_module_unchanged(main: Callable, arguments: list[str], module, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert module.__doc__.strip() in capsys.readouterr().out
