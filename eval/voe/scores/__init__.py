"""From traces to numbers: pairs, intervals, diagnostics, tables. Pure numpy."""
