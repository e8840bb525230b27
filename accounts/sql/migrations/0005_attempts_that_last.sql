-- Attempts of which the window is longer than a quarter of an hour are kept as long as it lasts.
ALTER TABLE attempts ADD COLUMN lasts_seconds integer NOT NULL DEFAULT 900;
