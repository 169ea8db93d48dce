"""Attacks. To add one, add a file in a folder here, and its test.

An attack reads a view and answers a question with a claim. It never imports the judge, the harness, the data or a
`Split`, so it cannot read the truth; `tests/test_architecture.py` checks this.
"""
