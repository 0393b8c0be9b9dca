"""A program that runs `taskmaster dev` on the data folder it is given, with a small stand-in for the API."""

import sys
from collections.abc import Sequence

from infrastructure.cli.starting import run_dev
from infrastructure.processes.supervisor import Child
from infrastructure.settings import Settings

# It answers with what it was given, so that a test can see how the settings reach a child.
STAND_IN = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(dict(os.environ) | {"pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
address = os.environ["TASKMASTER_HOST"], int(os.environ["TASKMASTER_PORT"])
http.server.HTTPServer(address, Handler).serve_forever()
"""


def stand_in(_settings: Settings) -> Sequence[Child]:
    return [Child(name="api", command=(sys.executable, "-c", STAND_IN), may_sign=True)]


if __name__ == "__main__":
    run_dev(Settings(data_dir=sys.argv[1]), stand_in)
