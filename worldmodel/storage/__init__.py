"""Object storage: URLs, range reads with retries, a local cache, and the index of shards. Imports no torch.

Objects are read through obstore (the extra `cloud`), which is imported when the first URL is read.
"""
