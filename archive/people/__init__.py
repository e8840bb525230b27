"""People of whom accounts says that they have another name, or are gone."""
