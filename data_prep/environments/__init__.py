"""Environments with actions: our own, and any other of gymnasium, recorded as videos with signals.

gymnasium is an optional dependency (`pip install -e ".[control]"`).
"""
