"""Damaged files of every format through the real readers."""
