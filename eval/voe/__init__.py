"""Violation of expectation: suites, surprise, scores."""
