"""`hedgerow new`: a small project that is a Flower app, on digits or on the user's own table.

The files it writes are the `*.template` files beside this one, with the values filled in.
"""

from hedgerow.new.project import NewProject, create_project

__all__ = ["NewProject", "create_project"]
