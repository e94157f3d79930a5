"""The report of `log_report`, made with SQLite, and the exact quantiles in place of a sketch's.

Usage: oracle_report.py SERVICES DAY FILE...; prints one JSON object. An empty DAY takes all days.
"""

import csv
import datetime
import gzip
import json
import re
import sqlite3
import sys

LINE = re.compile(
    r'\S+ \S+ \S+ \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d):\d\d:\d\d \+0000\] '
    r'"[A-Z]+ /([^/? ]*)[^ "]* HTTP/[\d.]+" (\d{3}) \d+ "[^"]*" "[^"]*" (\d+)'
)

REPORT = """
WITH joined AS (
    SELECT coalesce(services.service, 'unknown') AS service, hour, status, micros
    FROM requests LEFT JOIN services USING (path)
    WHERE :day = '' OR substr(hour, 1, 10) = :day
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY service, hour, status ORDER BY micros) - 1 AS rank,
        count(*) OVER (PARTITION BY service, hour, status) - 1 AS last
    FROM joined
)
SELECT service, hour, status, count(*), sum(micros), max(micros),
    max(micros) FILTER (WHERE rank = CAST(0.5 * last AS INTEGER)),
    max(micros) FILTER (WHERE rank = CAST(0.9 * last AS INTEGER)),
    max(micros) FILTER (WHERE rank = CAST(0.99 * last AS INTEGER))
FROM ranked GROUP BY service, hour, status ORDER BY service, hour, status
"""


def request(line):
    """What a line says; none if it is broken."""
    try:
        found = LINE.fullmatch(line.decode())
        hour = datetime.datetime.strptime(found[1], "%d/%b/%Y:%H")
    except (UnicodeDecodeError, TypeError, ValueError):
        return None
    return found[2], hour.strftime("%Y-%m-%dT%H"), int(found[3]), int(found[4])


def main(services, day, *files):
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE services (path TEXT PRIMARY KEY, service TEXT)")
    database.execute("CREATE TABLE requests (path TEXT, hour TEXT, status INTEGER, micros INTEGER)")
    with open(services, newline="") as table:
        database.executemany("INSERT INTO services VALUES (:path, :service)", csv.DictReader(table))
    broken = 0
    for name in files:
        with (gzip.open if name.endswith(".gz") else open)(name, "rb") as log:
            for line in log:
                found = request(line.rstrip(b"\n"))
                if found is None:
                    broken += 1
                else:
                    database.execute("INSERT INTO requests VALUES (?, ?, ?, ?)", found)
    rows = database.execute(REPORT, {"day": day}).fetchall()
    json.dump({"broken": broken, "rows": rows}, sys.stdout)


main(*sys.argv[1:])
