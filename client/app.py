"""`client_app(task)`: a site as a Flower ClientApp, the same simulated, under `flwr run` and in `hedgerow local`."""

import logging
from collections.abc import Callable, Mapping

from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from hedgerow.client.site import SiteSetup, site_setup
from hedgerow.client.trainer import Trainer
from hedgerow.errors import HedgerowError
from hedgerow.settings import Scalar
from hedgerow.task import Task
from hedgerow.wire import Request, failure_content, read_request

__all__ = ["HedgerowClientApp", "client_app"]

Work = Callable[[Mapping[str, Scalar], Request, SiteSetup, ArrayRecord], RecordDict]

log = logging.getLogger("hedgerow.client")


class HedgerowClientApp(ClientApp):
    """A ClientApp that knows its task, so that an engine can check the data and measure what leaked."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task


def client_app(task: Task) -> ClientApp:
    """A site's ClientApp.

    Guarantee: whatever goes wrong, what leaves the site is a code of `hedgerow.errors`, never an exception's words,
    which could hold a record; the words go to the site's own log.
    """
    app = HedgerowClientApp(task)
    trainer = Trainer(task)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return _answer(trainer.train, message, context)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return _answer(trainer.evaluate, message, context)

    return app


def _answer(work: Work, message: Message, context: Context) -> Message:
    site = ""
    try:
        setup = site_setup(context)
        site = setup.site.name
        request = read_request(message.content)
        content = work(context.run_config, request, setup, message.content.array_records["arrays"])
    except HedgerowError as error:
        log.warning("%s does not take part: %s", site or "the site", error)
        content = failure_content(error.code, site=site)
    except (Exception, SystemExit):  # a task's own sys.exit ends its round, not the site
        log.exception("%s failed", site or "the site")
        content = failure_content("E308", site=site)
    return Message(content, reply_to=message)
