"""Tasks that are ready to use. Importing them loads neither torch nor scikit-learn; using them does.

>>> from hedgerow import tasks
>>> tasks.digits().labels[3]
'3'
"""

from hedgerow.tasks.arrayfile import to_float32
from hedgerow.tasks.arrays import ArrayTask, arrays, hold_out
from hedgerow.tasks.breast_cancer import breast_cancer
from hedgerow.tasks.digits import digits
from hedgerow.tasks.images import images
from hedgerow.tasks.models import linear, mlp, small_cnn
from hedgerow.tasks.table import Table, TableProfile, inspect_table, table

# Imported here rather than on demand: a function that shares its module's name must be bound after the module is.
__all__ = [
    "ArrayTask",
    "Table",
    "TableProfile",
    "arrays",
    "breast_cancer",
    "digits",
    "hold_out",
    "images",
    "inspect_table",
    "linear",
    "mlp",
    "small_cnn",
    "table",
    "to_float32",
]
