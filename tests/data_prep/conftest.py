from inline_workers import in_this_process
from store_fixtures import new_process, server

__all__ = ["in_this_process", "new_process", "server"]
