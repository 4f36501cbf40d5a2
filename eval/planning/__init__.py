"""Evaluation of planning: pairs of start and goal, policies on the same pairs, offline measures, the page."""
