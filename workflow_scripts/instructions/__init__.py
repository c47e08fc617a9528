"""From pairs and lists to instructions: one module a kind, each a function from its input to a table of `table.SCHEMA`."""
