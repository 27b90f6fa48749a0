"""The site: judges a request, trains under its own budget, and replies."""

from hedgerow.client.app import HedgerowClientApp, client_app
from hedgerow.client.site import SiteSetup, site_setup

__all__ = ["HedgerowClientApp", "SiteSetup", "client_app", "site_setup"]
