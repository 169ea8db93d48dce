"""Does a file that somebody passes on carry rows of people? It is read, and never loaded or executed."""
