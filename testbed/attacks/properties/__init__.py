"""Property inference: what are a client's records like as a whole?"""
