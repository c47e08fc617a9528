"""Stage predictions: a benchmark turns one language into prompts, an engine answers them, one file a language."""
