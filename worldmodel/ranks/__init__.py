"""Processes of one training: launch, heartbeats between ranks, and how all end when one of them hangs, dies or fails."""
