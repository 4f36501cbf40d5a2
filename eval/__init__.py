"""Evaluate what a model has learned. A client of `worldmodel` and `data_prep`.

commands: one module per command of `python -m eval`. voe: violation of expectation (suites,
surprise, scores). probes: what latents and forecasts encode. forecasts: error and skill by horizon.
plausibility: surprise of single videos. sweeps: many trainings side by side. report: HTML pages.
cache: stored results. Modules in this folder are shared by several of these.
"""
