"""Stage reports: one table of scores, one ledger, and pages that derive everything from them."""
