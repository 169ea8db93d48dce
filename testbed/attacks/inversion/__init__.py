"""Attacks that rebuild records from what a federation exchanges: see the module of each."""
