"""What all tests share: one torch thread, as in the engines, and property tests without a clock."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("hedgerow", deadline=None)
settings.load_profile("hedgerow")
