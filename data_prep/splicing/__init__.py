"""Quadruplets for violation of expectation that are spliced from real video, without labels."""
