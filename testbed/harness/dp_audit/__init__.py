"""Audits of a claimed epsilon, each a lower bound from attacks."""
