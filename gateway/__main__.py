"""`python -m gateway` is `patchbay`."""

from gateway.cli import main

main()
