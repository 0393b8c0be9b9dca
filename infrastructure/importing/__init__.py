"""Reading files into the log."""
