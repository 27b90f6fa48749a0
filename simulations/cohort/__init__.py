"""A whole round's sites trained at once in this process, with the numbers of one by one.

```
trainer ─ cuts a round into chunks, and falls back ─► paths ─┬─ onebyone            the code of a real site
   │                                                         ├─ stacked ─ layered   batched layers, ghost norms
   ├─ choosing ─ trial: two sites, both ways                 │         └─ vmapped   torch.func
   └─ data, schedule: whose rows, in which batches           └─ compiled ─ kernel   numba
rounds ─ the coordinator's round, fed with the trainer's rows;  grid ─ Flower's strategies over the trainer
```
"""
