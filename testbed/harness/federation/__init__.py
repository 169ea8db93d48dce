"""Attacks on federations: who takes part, what is recorded, what is asked of it, and the judge."""
