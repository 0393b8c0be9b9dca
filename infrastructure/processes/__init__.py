"""Child processes, how they end, and points at which tests end them."""
