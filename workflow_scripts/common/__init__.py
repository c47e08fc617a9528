"""What several stages need: errors, files, tables, languages, prompts, ledgers."""
