"""E-mail: verified addresses, one mail for each notice or one digest a day, and an end to it with one click."""
