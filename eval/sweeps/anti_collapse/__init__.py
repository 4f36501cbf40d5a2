"""Sweep over anti-collapse methods: each is trained and evaluated on the same videos for the same
number of steps."""
