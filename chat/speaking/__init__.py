"""Saying something: who may, under which rules, in which words."""
