"""What it is to be a process here: start, stop, settings, logs, health, HTTP, Postgres, Redis."""
