"""Contenders of the benchmark of training steps, benchmarks/step.py."""
