"""How long recordings stay and what they take: cooling, deleting by age, sweeping, capacity."""
