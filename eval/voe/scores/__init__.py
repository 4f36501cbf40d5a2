"""From traces to numbers: pairs, intervals, diagnostics, tables.

Pure numpy: needs neither the model nor the videos.
"""
