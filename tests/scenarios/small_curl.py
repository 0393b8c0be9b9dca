"""As much of curl as the README's tour uses, for machines that have none: -s, -i, -w, -X, -H, -d and one address."""

import argparse
import sys

import httpx


def main() -> None:
    """Make the request and print the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-si", action="store_true")
    parser.add_argument("-w", default="")
    parser.add_argument("-X", default=None)
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d", default=None)
    parser.add_argument("address")
    chosen = parser.parse_args()
    headers = dict(line.split(": ", 1) for line in chosen.H)
    method = chosen.X or ("POST" if chosen.d is not None else "GET")
    answer = httpx.request(method, chosen.address, headers=headers, content=chosen.d, timeout=30)
    if chosen.i or chosen.si:
        sys.stdout.write(f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\n")
        sys.stdout.writelines(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        sys.stdout.write("\r\n")
    sys.stdout.write(answer.text + chosen.w.replace("\\n", "\n"))


if __name__ == "__main__":
    main()
