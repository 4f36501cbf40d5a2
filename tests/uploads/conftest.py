from store_fixtures import new_process, server

__all__ = ["new_process", "server"]
