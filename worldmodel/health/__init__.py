"""Collapse diagnostics: health metrics on held-out windows, the verdict that follows from them, and advice.

    monitor     when a run is checked, and on what
    moments     sums over latents and forecasts of held-out windows, which can be merged
    metrics     health metrics computed from the moments
    verdicts    thresholds, and the verdict with one line of advice
    advice      what each verdict means and what to do

The training log and the training report use the same texts.
"""
