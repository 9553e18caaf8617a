"""A worker process: one case a line of standard input as JSON, one verdict a line of standard output."""

import json
import sys

import torch

from .judge import judge


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(judge(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
