"""What we remember: tables, and one named function per statement.

Every query function takes the workspace right after the session; only the worker's claims cross workspaces.
"""
