"""Evaluations of one model on several suites in one table: how far what it learned carries."""
