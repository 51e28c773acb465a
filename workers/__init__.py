"""Analysis. Opens no association, sends nothing."""
