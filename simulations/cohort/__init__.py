"""A whole round's sites trained at once in this process, with the numbers of one by one."""
