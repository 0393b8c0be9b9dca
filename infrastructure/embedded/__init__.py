"""The PostgreSQL and the Valkey that come with the program."""
