"""How it is put together: settings, HTTP, websockets, the command line."""

VERSION = "0.1.0"
