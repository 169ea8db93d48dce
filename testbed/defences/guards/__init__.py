"""Guards: what a client or a server can notice of a malicious other side. One file each."""
