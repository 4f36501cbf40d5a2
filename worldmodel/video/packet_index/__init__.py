"""Packet index: where the packets of many files lie, on disk, so that a window is decoded without opening a container."""
