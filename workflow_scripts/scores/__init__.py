"""Stage scores: numbers with signatures, intervals and paired tests, from answers that are already there."""
