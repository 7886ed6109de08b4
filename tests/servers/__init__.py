"""Real servers for the tests: PostgreSQL with and without TimescaleDB, a broker, and a link that can be cut."""
