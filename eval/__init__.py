"""Measure what a model knows: a client of `worldmodel` and `data_prep`.

Commands stand here, a file each (`__main__` lists them), with what several rooms share. The rooms: `benchmarks` (a layout on
disk to trials), `surprise` (a model and films to traces), `scores` (traces to numbers), `probes` (what latents and forecasts
hold), `plausibility` (films that nobody paired), `grids` (many trainings side by side), `report` (pages).
"""
