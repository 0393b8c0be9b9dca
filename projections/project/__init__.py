"""The project's read models."""
