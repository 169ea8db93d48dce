"""Audits of a claimed epsilon. Each gives a lower bound from attacks."""
