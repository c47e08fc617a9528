"""Plan what share each language gets, draw it deterministically, and put the plan beside what came out."""
