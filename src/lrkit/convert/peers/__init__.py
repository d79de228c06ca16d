"""One module for each peer: the functions that take its parameters, and `ENTRIES`, which names them as it does."""
