"""The log: appending, reading, remembering, proving."""
