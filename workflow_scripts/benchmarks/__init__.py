"""Test sets, one file a language: official ones from their archive or folder, and those that are built here."""
