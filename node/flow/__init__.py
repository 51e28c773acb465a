"""The arrows; each file: one pure rule, one `step()`, one loop."""
