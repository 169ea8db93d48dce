"""Users' tables: reading files, kinds and units of columns, dates, gaps, and the encoding as arrays."""
