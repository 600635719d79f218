"""Files larger than memory, a batch of rows at a time."""
