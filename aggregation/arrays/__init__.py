"""Rows as numbers: passes over large tables, inner products, order statistics, on all cores or an accelerator."""
