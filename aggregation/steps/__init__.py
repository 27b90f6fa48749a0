"""Steps before a rule: they shorten, leave out or mix rows, and hand on fewer or gentler ones."""
