"""Handling of names and files that others wrote: file names, JSON files, text for the terminal. No torch."""
