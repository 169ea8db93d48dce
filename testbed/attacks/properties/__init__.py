"""Attacks that tell what a client's records are like as a whole."""
