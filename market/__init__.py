"""The `market` command: runs the stack on one machine and looks into it."""
