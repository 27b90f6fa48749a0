"""Defences: rules that remember, that need a reference or random draws, or that judge sites rather than rows."""
