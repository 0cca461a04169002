"""Other wordings of a question, one module a way of making them: pure functions that draw by hashes."""
