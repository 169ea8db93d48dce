"""Attacks: one file each. Adding one means adding a file in a folder here, and its test.

An attack reads a view and answers a question with a claim. It never imports the judge, the harness, the data or a
`Split`, so it has nothing to peek at; `tests/test_architecture.py` holds it to that.
"""
