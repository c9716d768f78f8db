"""The sandbox venue as a process of its own, busier than usual: its log of frames is what the judge compares with.

    python -m md_platform_tests.faults.venue FOLDER ACTIVITY

It prints its addresses as JSON, with and without TLS (by an authority in FOLDER), and serves until SIGTERM.
"""

import dataclasses
import json
import sys
from pathlib import Path

from md_platform.sandbox.server import Endpoints, SandboxConfig, run


def _told(endpoints: Endpoints) -> None:
    known = dataclasses.asdict(endpoints) | {"http": endpoints.http, "ws": endpoints.ws, "wss": endpoints.wss}
    print(json.dumps({name: str(value) for name, value in known.items()}), flush=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    config = SandboxConfig(
        port=0,
        tls_port=0,
        tls_dir=folder,
        frame_log=folder / "frames.jsonl",
        rate_limits=False,
        activity=float(sys.argv[2]),
    )
    run(config, _told)
