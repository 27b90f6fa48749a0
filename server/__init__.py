"""The coordinator: selects, gathers, admits, aggregates, steps, and makes every round durable before it goes out."""

from hedgerow.server.app import HedgerowServerApp, server_app
from hedgerow.server.policygrid import PolicyGrid
from hedgerow.server.strategy import Strategy

__all__ = ["HedgerowServerApp", "PolicyGrid", "Strategy", "server_app"]
