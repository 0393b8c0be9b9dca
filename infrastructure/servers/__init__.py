"""PostgreSQL and Redis as servers: connections, checks, migrations."""
