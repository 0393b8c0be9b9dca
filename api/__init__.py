"""The HTTP edge: one file a noun with its routes. The only user of litestar, and the only place that knows statuses."""
