"""Traces to numbers: pairs, intervals, diagnostics, tables. Pure numpy; neither a model nor films are needed."""
