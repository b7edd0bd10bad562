"""The command line: one module per group of commands, nothing here knows a method by name."""
