"""Fuzzing: damaged files of every format are read by the real readers."""
