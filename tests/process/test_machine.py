"""Changes of hardware and software that a resume reports."""

import torch

from worldmodel.process.machine import describe_machine, environment_changes


def test_the_same_machine_has_not_changed():
    here = describe_machine(torch.device("cpu"), 1)
    assert environment_changes(here, here) == []


def test_each_difference_that_may_change_the_last_bits_is_reported():
    before = {"device": "cpu", "processor": "A", "processes": 1, "threads": 4, "versions": {"torch": "2.9", "numpy": "2.0"}}
    now = {"device": "H100", "processor": "B", "processes": 2, "threads": 2, "versions": {"torch": "2.13", "numpy": "2.0"}}
    assert environment_changes(before, now) == [
        "device cpu -> H100",
        "processor A -> B",
        "processes 1 -> 2",
        "threads 4 -> 2",
        "torch 2.9 -> 2.13",
    ]


def test_values_that_an_earlier_version_did_not_store_are_skipped():
    assert environment_changes({}, describe_machine(torch.device("cpu"), 1)) == []
    assert environment_changes({"versions": "2.9"}, describe_machine(torch.device("cpu"), 1)) == []
