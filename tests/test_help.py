"""What `--help` shows: the words a module begins with, line by line as they were written."""

import importlib
from collections.abc import Callable

import pytest

import worldmodel.rollout
import worldmodel.train
from data_prep import __main__ as preparing
from eval import __main__ as measuring

WAYS = [
    *((measuring.main, [name, "--help"], importlib.import_module(path)) for name, path in measuring.COMMANDS.items()),
    *((preparing.main, [name, "--help"], module) for name, module in preparing.COMMANDS.items()),
    *((module.main, ["--help"], module) for module in (worldmodel.train, worldmodel.rollout)),
]


@pytest.mark.parametrize(("main", "words", "module"), WAYS, ids=lambda it: getattr(it, "__name__", ""))
def test_the_words_of_a_module_are_shown_as_they_were_written(main: Callable, words: list[str], module, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert module.__doc__.strip() in capsys.readouterr().out
