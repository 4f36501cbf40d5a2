"""Analysis of quadruplets by probes: what is encoded, what is predicted, and why a quadruplet
fails."""
