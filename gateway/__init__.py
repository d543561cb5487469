"""How it is put together: settings, HTTP, websockets, the command line."""
