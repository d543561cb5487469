"""Side-by-side measurements. `python -m bench --help` says what there is; README.md how to read it."""
