"""Plausibility of single videos: their surprise compared with that of possible videos."""
