"""`python -m prolu.client.cli` is the `prolu` command."""

from prolu.client.cli import main

main()
