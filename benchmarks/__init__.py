"""Scripts that measure speed, memory and baselines."""
