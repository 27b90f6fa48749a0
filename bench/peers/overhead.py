"""A message with 10,000 float32 parameters and no training, there and back on the Grid in this process."""

import argparse
import json
import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from hedgerow.flowercompat import quiet_flower
from hedgerow.simulations import run_simulation

SITES, ROUNDS = 1000, 10


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    client, server = ClientApp(), ServerApp()
    seconds: list[float] = []

    @client.train()
    def echo(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 1})
        content = RecordDict({"arrays": message.content.array_records["arrays"], "metrics": metrics})
        return Message(content, reply_to=message)

    @server.main()
    def rounds(grid: Grid, context: Context) -> None:
        arrays = ArrayRecord([np.zeros(10_000, np.float32)])
        for number in range(ROUNDS):
            content = RecordDict({"arrays": arrays})
            messages = [Message(content, node, "train", group_id=str(number)) for node in grid.get_node_ids()]
            start = time.perf_counter()
            replies = list(grid.send_and_receive(messages))
            seconds.append(time.perf_counter() - start)
            assert len(replies) == SITES
            for reply in replies:
                reply.content.array_records["arrays"]["0"].numpy()

    with quiet_flower(40):
        run_simulation(server, client, SITES)
    print(
        json.dumps(
            {
                "sites": SITES,
                "rounds": ROUNDS,
                "best_ms": 1e3 * min(seconds) / SITES,
                "median_ms": 1e3 * float(np.median(seconds)) / SITES,
            }
        )
    )


if __name__ == "__main__":
    main()
