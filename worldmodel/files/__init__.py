"""Files on disk: atomic writes, locks, owned outputs, and checked reading of files that others wrote."""
