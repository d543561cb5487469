"""What carries hints between processes, each imported where it is used."""
