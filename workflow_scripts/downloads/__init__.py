"""Fetch packages from registries, each with its own client, checked against the hash in resources/packages.tsv."""
