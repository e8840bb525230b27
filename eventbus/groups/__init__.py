"""Consumer groups on Postgres: who is a member, who works on which partition, and how far each group is."""
