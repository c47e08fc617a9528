"""Parallel text: read from packages, clean, remove duplicates and benchmark text; one Parquet file a language."""
