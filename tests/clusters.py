"""A cluster of two workers in this process, on loopback and any free port."""

from collections.abc import Iterator
from contextlib import contextmanager

import distributed


@contextmanager
def small_cluster() -> Iterator[None]:
    with (
        distributed.LocalCluster(
            host="127.0.0.1",
            protocol="tcp://",
            processes=False,
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield
