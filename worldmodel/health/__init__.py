"""Collapse diagnostics: health metrics, their verdict, and when they are computed."""
