"""`python -m node` is `nodus`."""

from node.cli import main

main()
