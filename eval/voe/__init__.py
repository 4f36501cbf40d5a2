"""Violation of expectation: are impossible videos more surprising than matched possible ones?"""
