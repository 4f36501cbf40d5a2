"""What `--help` shows: the words a module begins with, line by line as they were written."""

import importlib
from collections.abc import Callable

import pytest

import data_prep.__main__
import eval.__main__
import worldmodel.rollout
import worldmodel.train

WAYS = [
    *((eval.__main__.main, [name, "--help"], importlib.import_module(path)) for name, path in eval.__main__.COMMANDS.items()),
    *((data_prep.__main__.main, [name, "--help"], module) for name, module in data_prep.__main__.COMMANDS.items()),
    *((module.main, ["--help"], module) for module in (worldmodel.train, worldmodel.rollout)),
]


@pytest.mark.parametrize(("main", "words", "module"), WAYS, ids=lambda it: getattr(it, "__name__", ""))
def test_the_words_of_a_module_are_shown_as_they_were_written(main: Callable, words: list[str], module, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert module.__doc__.strip() in capsys.readouterr().out
