"""`python -m gateway` is `patchbay`."""

import gc

gc.set_threshold(20_000, 20, 100)  # hardly anything becomes garbage, and looking for it takes a sixth of the start otherwise

from gateway.cli import main  # noqa: E402

main()
