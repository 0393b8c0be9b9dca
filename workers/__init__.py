"""The Dramatiq edge: broker, relay, projector. The only user of dramatiq. Messages are hints and carry no event."""
