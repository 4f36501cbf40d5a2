"""Processes of one training: who they are, and what happens when one of them is silent, dies or fails."""
