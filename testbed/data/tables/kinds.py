"""The kinds of columns that a meta file may declare. Nothing heavy is imported: a listing reads them."""

KINDS = ("numeric", "categorical", "date", "drop")
"""`drop` leaves a column out of every attack."""
