"""What is said at a resume about another machine than before."""

import torch

from worldmodel.process.machine import changed_since, machine


def test_the_same_machine_has_not_changed():
    here = machine(torch.device("cpu"), 1)
    assert changed_since(here, here) == []


def test_each_thing_that_may_change_the_last_bits_is_told():
    before = {"device": "cpu", "processor": "A", "processes": 1, "threads": 4, "versions": {"torch": "2.9", "numpy": "2.0"}}
    now = {"device": "H100", "processor": "B", "processes": 2, "threads": 2, "versions": {"torch": "2.13", "numpy": "2.0"}}
    assert changed_since(before, now) == [
        "device cpu -> H100",
        "processor A -> B",
        "processes 1 -> 2",
        "threads 4 -> 2",
        "torch 2.9 -> 2.13",
    ]


def test_what_an_earlier_version_did_not_note_is_left_out():
    assert changed_since({}, machine(torch.device("cpu"), 1)) == []
    assert changed_since({"versions": "2.9"}, machine(torch.device("cpu"), 1)) == []
