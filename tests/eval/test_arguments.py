"""Numbers that make no sense are refused where they are given."""

import pytest

from eval.__main__ import main
from eval.arguments import at_least

PHYSICS = ["physics", "--model", "x", "--suite", "builtin:x", "--out", "x"]
SCORE = ["score", "x.mp4", "--model", "x"]
PROBE = ["probe", "--model", "x", "--data", "x", "--out", "x"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*PHYSICS, "--fps", "0"], "argument --fps: 0 is no rate; expected frames a second, above 0"),
        ([*PHYSICS, "--fps", "nan"], "argument --fps: nan is no rate"),
        ([*SCORE, "--fps", "-12"], "argument --fps: -12 is no rate"),
        ([*SCORE, "--folder-fps", "0"], "argument --folder-fps: 0 is no rate"),
        ([*PHYSICS, "--untrained-seeds", "-3"], "argument --untrained-seeds: -3: expected a whole number, 0 or more"),
        ([*PROBE, "--films", "0"], "argument --films: 0: expected a whole number, 1 or more"),
    ],
)
def test_a_number_that_makes_no_sense_is_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_no_untrained_network_at_all_is_allowed():
    assert at_least(0)("0") == 0
