"""Limits of what one client may ask, across processes."""
