"""The workers of a distributed training on this machine: processes that `TF_CONFIG` connects.

If a worker dies, all workers are started again, because the others cannot continue without this worker's gradients.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

MOST_STARTS = 5
SECONDS_TO_REPORT = 10.0  # after a worker dies, the others have this time to log an error


def run(count, module, folder):
    """Runs `python -m` in `count` workers until all succeed. `module` is a list: a module's name and its arguments.

    Worker `i` appends its output to `worker-i.log` in the folder.
    """
    for _ in range(MOST_STARTS):
        processes = _start(count, module, folder)
        try:
            end = float("inf")
            while any(process.poll() is None for process in processes) and time.monotonic() < end:
                if any(process.poll() for process in processes):
                    end = min(end, time.monotonic() + SECONDS_TO_REPORT)
                time.sleep(0.1)
        finally:
            for process in processes:
                process.kill()  # no effect on a process that has ended
            codes = [process.wait() for process in processes]
        if not any(codes):
            return
        print(f"workers ended with {codes}: all are restarted from the backup", file=sys.stderr)
    raise ValueError(f"The workers died {MOST_STARTS} times: look at the logs in the run folder.")


def _start(count, module, folder):
    hosts = [f"localhost:{port}" for port in free_ports(count)]
    processes = []
    for i, config in enumerate(configs(hosts)):
        with (folder / f"worker-{i}.log").open("a") as log:
            command = [sys.executable, "-m", *module]
            processes.append(subprocess.Popen(command, env=os.environ | {"TF_CONFIG": config}, stdout=log, stderr=log))
    print("workers:", *(process.pid for process in processes), file=sys.stderr)
    return processes


def configs(hosts):
    """Returns the value of TF_CONFIG for each worker. `hosts` are the addresses `host:port` of the workers."""
    return [
        json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}}) for i in range(len(hosts))
    ]


def free_ports(count):
    """Returns `count` free ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("localhost", 0))
        return [s.getsockname()[1] for s in sockets]
