"""Collapse diagnostics: health metrics on held-out windows, the verdict they lead to, and advice.

    monitor     when a run is checked, and on what
    moments     sums over latents and forecasts of held-out windows, which can be merged
    metrics     health metrics computed from the moments
    diagnosis   thresholds, and the verdict
    verdicts    what each verdict means and what to do

The training log and the training report use the same texts.
"""
