"""Films that nobody paired: watched, compared with lawful ones, shown."""
