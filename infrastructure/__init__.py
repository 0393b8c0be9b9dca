"""Adapters: the event store, Postgres, Redis, tokens and passwords, settings, migrations, embedded servers, the CLI.

The only user of eventsourcing, argon2 and jwt. May import application, projections and domain.
"""
