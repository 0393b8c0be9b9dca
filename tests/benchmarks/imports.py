"""A real ticket history, from its file to every read model having caught up."""

import csv
import gzip
import io
import os
import random
import time
from datetime import datetime, timedelta
from pathlib import Path

from infrastructure.importing.tickets import ImportRequest, import_tickets
from tests.benchmarks.figures import Figure, NotMeasured
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import PROJECT, Bench, register

KEYS = ("import_s",)
ROWS = 21_348
CASES = 4_580
CHANGES_OF_PRIORITY = 84
_EMAIL = "importer"
_COLUMNS = [
    "Case ID", "Activity", "Resource", "Complete Timestamp", "Variant", "Variant index", "Variant", "seriousness", "customer",
    "product", "responsible_section", "seriousness_2", "service_level", "service_type", "support_section", "workgroup",
]  # fmt: skip
_MIDDLE = (
    ("Take in charge ticket", 24), ("Wait", 7), ("Require upgrade", 1), ("Create SW anomaly", 1), ("Resolve SW anomaly", 1),
    ("Schedule intervention", 1), ("Assign seriousness", 2), ("DUPLICATE", 1), ("INVALID", 1),
)  # fmt: skip


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """Import through the function behind `taskmaster import tickets`, with relay and worker running."""
    file, origin = history_file(bench.folder)
    with bench.stage() as settings, bench.api(settings) as api, bench.background(settings), Progress(settings) as progress:
        register(api, _EMAIL)
        progress.wait()
        begun = time.perf_counter()
        request = ImportRequest(file, "helpdesk", f"{_EMAIL}@example.org")
        summary = import_tickets(settings.database_url, settings.redis_url, settings.log_name, request)
        imported = time.perf_counter() - begun
        progress.wait()
        took = time.perf_counter() - begun
    if (summary.rows, summary.tickets, len(summary.rejected)) != (ROWS, CASES, 0):
        raise NotMeasured(f"{summary.rows} rows of {summary.tickets} tickets were imported, {len(summary.rejected)} refused")
    how = (
        f"{origin}: {summary.rows:,} rows, {summary.events:,} events; file to log {imported:.2f} s, the read models "
        f"{took - imported:.2f} s later; relay and worker running"
    )
    return [Figure("import_s", took, how)]


def history_file(folder: Path) -> tuple[Path, str]:
    """The help desk's history, or a made one of the same shape, and which of the two it is."""
    histories = os.environ.get("TASKMASTER_HISTORIES")
    file = (Path(histories) if histories else PROJECT.parent / "shared" / "data") / "helpdesk.csv.gz"
    if file.is_file():
        return file, "the help desk history"
    if histories:
        raise NotMeasured(f"TASKMASTER_HISTORIES names a folder without {file.name}")
    made = folder / "helpdesk.csv.gz"
    made.write_bytes(gzip.compress(synthetic_history().encode()))
    return made, "a SYNTHETIC history of the help desk's shape (its file is not there)"


def synthetic_history(seed: int = 7) -> str:
    """As many cases and rows as the real one, in its columns; the rows of a case lie together, cases begin over years."""
    chance = random.Random(seed)
    lengths = [4] * CASES
    for _ in range(ROWS - 4 * CASES):
        lengths[min(chance.randrange(CASES), chance.randrange(CASES))] += 1
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    begin = datetime(2010, 1, 13, 8)
    for case, length in enumerate(lengths, 1):
        at = begin + timedelta(minutes=chance.randrange(4 * 365 * 24 * 60))
        middle = chance.choices([name for name, _ in _MIDDLE], [weight for _, weight in _MIDDLE], k=length - 3)
        variant, product, serious = f"Variant {length}", f"Value {chance.randint(1, 21)}", chance.randint(1, 4)
        for activity in ("Assign seriousness", *middle, "Resolve ticket", "Closed"):
            at += timedelta(seconds=chance.randint(20, 400_000))
            if chance.random() < CHANGES_OF_PRIORITY / ROWS:
                serious = chance.randint(1, 4)
            cells = [f"Case {case}", activity, f"Value {chance.randint(1, 22)}", f"{at:%Y/%m/%d %H:%M:%S}.000"]
            cells += [variant, str(length), variant, "Value 1", f"Value {chance.randint(1, 300)}", product]
            cells += ["Value 1", f"Value {serious}", "Value 1", "Value 1", "Value 1", "Value 1"]
            rows.writerow(cells)
    return text.getvalue()
