"""Signals of a clip: actions and states over time, in a table beside the video. This package does not import torch.

Rows are matched with frames by time, not by number: robots record at other rates than cameras.
"""

from worldmodel.signals.align import action_blocks, check_rate, state_differences, states_at
from worldmodel.signals.statistics import ClipProblem, SignalStatistics, signal_statistics
from worldmodel.signals.table import Channel, SignalError, Signals, read_signals, write_signals

__all__ = [
    "Channel",
    "ClipProblem",
    "SignalError",
    "SignalStatistics",
    "Signals",
    "action_blocks",
    "check_rate",
    "read_signals",
    "signal_statistics",
    "state_differences",
    "states_at",
    "write_signals",
]
