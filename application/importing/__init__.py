"""Histories of other systems as events: what their rows and steps mean."""
