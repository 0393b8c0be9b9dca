"""The task: what can happen to it, what may be asked of it, what its values may be, and every rule."""
