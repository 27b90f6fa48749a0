"""Compiled code that trains dense networks one client at a time; every module but this one needs numba."""
