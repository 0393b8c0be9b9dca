"""A program that supervises the children it is given as JSON."""

import os
import sys

import msgspec

from infrastructure.processes.supervisor import Child, Supervisor

if __name__ == "__main__":
    Supervisor(msgspec.json.decode(sys.argv[1], type=list[Child]), lambda _: os.environ).run()
