"""Data sets that ship inside package wheels: read by name, version and sha256."""
