"""The cluster: what jobs need of it, what is checked before a run, what happens during one, and what it has cost."""
