"""A job's own private mechanism, run where there is nothing to hide and tested from what it releases.

```
audit ─┬─ record ─ siterounds, planted, restarting   a site's steps by Opacus, as deployed
       ├─ cohort                                     the batched steps of a simulation
       └─ coordinator                                the coordinator's noise, where sites are protected
```
The statistics are `hedgerow.privacy.conformance`'s.
"""

from hedgerow.simulations.conformance.answer import Audit, Part
from hedgerow.simulations.conformance.audit import AUDITED, audit_conformance

__all__ = ["AUDITED", "Audit", "Part", "audit_conformance"]
