"""The command line: one file a command; `start` is where it begins, `commands` the list."""
