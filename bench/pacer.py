"""A bare producer on a fixed schedule, in a process of its own.

    python -m bench.pacer BOOTSTRAP TOPIC PARTITIONS RATE SECONDS

Record n is due at start + n / rate whether or not the ones before it were late, and carries that due time: a stall
delays every record that was due in it, as it delays trades that go on happening.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from streaming.producer import exact_producer, produce

PADDING: Final = b" " * 240  # with it a record is as long as a trade's


def pace(bootstrap: str, topic: str, partitions: int, rate: float, seconds: float) -> None:
    """Produce ``rate`` records a second with the product's producer, for so many seconds."""
    producer = exact_producer(bootstrap, name="bench")
    start, total = time.time() + 0.5, int(rate * seconds)
    sent = 0
    while sent < total:
        due = min(total, int((time.time() - start) * rate) + 1)
        for n in range(sent, due):
            value = b"%d%b" % (int((start + n / rate) * 1e6), PADDING)
            produce(producer, topic, value, None, n % partitions)
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(max(0.0, min(0.002, start + sent / rate - time.time())))
    producer.flush(30)


if __name__ == "__main__":
    pace(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]))
