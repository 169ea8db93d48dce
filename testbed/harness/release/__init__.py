"""Attacks on a released table, and the rules for copies, near copies and identifiers."""
