"""Numbers that make no sense are refused where they are given."""

import pytest

from eval.__main__ import main as evaluate
from worldmodel.arguments import count
from worldmodel.rollout import main as roll_out

PHYSICS = ["physics", "--model", "x", "--suite", "builtin:x", "--out", "x"]
SCORE = ["score", "x.mp4", "--model", "x"]
PROBE = ["probe", "--model", "x", "--data", "x", "--out", "x"]


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (roll_out, ["x", "--count", "0"], "argument --count: 0: expected 1 to 64"),
        (roll_out, ["x", "--samples", "many"], "argument --samples: many: expected 1 to 8"),
        (evaluate, [*PHYSICS, "--fps", "0"], "argument --fps: 0 is no rate; expected frames a second, above 0"),
        (evaluate, [*PHYSICS, "--fps", "nan"], "argument --fps: nan is no rate"),
        (evaluate, [*SCORE, "--fps", "-12"], "argument --fps: -12 is no rate"),
        (evaluate, [*SCORE, "--folder-fps", "0"], "argument --folder-fps: 0 is no rate"),
        (evaluate, [*PHYSICS, "--untrained-seeds", "-3"], "argument --untrained-seeds: -3: expected 0 or more"),
        (evaluate, [*PROBE, "--films", "0"], "argument --films: 0: expected 1 or more"),
    ],
)
def test_a_number_that_makes_no_sense_is_one_line(main, words, said, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_no_untrained_network_at_all_is_allowed():
    assert count(0)("0") == 0
