"""What carries entries between gateways and keeps them until Postgres has them: the port, Redis, the twin for tests."""
