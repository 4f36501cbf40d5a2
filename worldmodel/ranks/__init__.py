"""Processes of one training: launch, heartbeats between ranks, and the end of all when one hangs, dies or fails."""
