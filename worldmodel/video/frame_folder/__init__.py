"""Folders of pictures that are videos."""
