"""Attacks that tell whose records were used: see the module of each."""
