"""Cleaned topics → stores: chunk, write, commit. Writing twice changes nothing."""
