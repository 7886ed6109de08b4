"""A process that makes records, commits and delivers them until it is killed. Run by test_outbox_kill.py.

Arguments: the outbox's file, the log that says what was made and committed, the first serial, and how many records
to make (0: until killed). Batches go out on standard output, watermarks come in on standard input.
"""

import json
import os
import random
import sys
from pathlib import Path
from typing import Any

from edge_agent.outbox import Limits, Outbox
from tests.outbox_model import count, stamp_at


def ask(question: dict[str, Any]) -> int:
    sys.stdout.write(json.dumps(question) + "\n")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.exit("the collector is gone")
    return int(answer)


def deliver(outbox: Outbox, t_s: float, max_records: int) -> bool:
    epoch = outbox.contact_due()
    if epoch is not None:
        outbox.reconcile(epoch, ask({"epoch": str(epoch)}), stamp_at(t_s))
        return True
    batch = outbox.next_batch(max_records, 100_000, stamp_at(t_s))
    if batch is None:
        return False
    records = [record.decode() for record in batch.records]
    question = {"epoch": str(batch.epoch), "first": batch.first_seq, "last": batch.last_seq, "records": records}
    watermark = ask(question)
    if watermark >= 0:
        outbox.ack(batch.epoch, watermark)
    return True


def main(path: str, log_path: str, first: str, n_records: str) -> None:
    rng = random.Random(int(first))
    outbox = Outbox.open(Path(path), stamp_at(int(first)), Limits())
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    serial = int(first)
    while n_records == "0" or serial < int(first) + int(n_records):
        for _ in range(rng.randint(1, 20)):
            os.write(log, f"made {serial}\n".encode())
            outbox.append(count(serial), stamp_at(serial))
            serial += 1
        if rng.random() < 0.7:
            assert outbox.commit()
            os.write(log, f"committed {serial - 1}\n".encode())
        if rng.random() < 0.5:
            deliver(outbox, serial, rng.randint(1, 60))
    assert outbox.commit()
    os.write(log, f"committed {serial - 1}\n".encode())
    while deliver(outbox, serial, 500):
        pass
    outbox.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
