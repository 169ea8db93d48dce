"""One file a question; each runs by name (`testbed run NAME`) and as a script (`python scenarios/NAME.py`)."""
