"""The stores of read models: checkpoints, tables, hot documents, rebuilding, and how they are read."""
