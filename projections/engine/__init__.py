"""What advances every read model: the projector, and the changes that it applies."""
