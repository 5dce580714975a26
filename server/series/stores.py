"""Opens the series store that the settings name, and readies the record for it."""

from __future__ import annotations

import ssl
from contextlib import nullcontext

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.orm import Session

from server.database import writing
from server.dialects import insert_new
from server.models import StoredBatch
from server.series import record
from server.series.journal import read_portion
from server.series.models import SeriesCursor
from server.series.points import readings_of
from server.series.port import SeriesStore
from server.series.problems import record_problems
from server.series.record import RecordSeriesStore
from server.series.settings import Influx1Series, Influx2Series, RecordSeries

Settings = RecordSeries | Influx1Series | Influx2Series

CONNECTIONS_MAX = 8
CONNECTION_WAIT_S_MAX = 2.0


def open_store(settings: Settings, engine: Engine, reading: Connection | None = None) -> SeriesStore:
    """The store; the caller closes it. With *reading*, a series in the record is read in that connection's snapshot."""
    if isinstance(settings, RecordSeries):
        connect = engine.connect if reading is None else lambda: nullcontext(reading)
        return RecordSeriesStore(connect, writing(engine).begin)
    return open_influx(settings)


def open_influx(settings: Influx1Series | Influx2Series) -> SeriesStore:
    """A store in InfluxDB; nothing is asked of the database yet."""
    import httpx

    from server.series.influx import InfluxSeriesStore
    from server.series.line_writers import LineWriter, V1LineWriter, V2LineWriter

    ca_file = str(settings.ca_file) if settings.ca_file else None
    verify = ssl.create_default_context(cafile=ca_file) if settings.url.startswith("https:") else False
    user, secret = _credentials(settings)
    client = httpx.Client(
        base_url=settings.url,
        auth=(user, secret) if secret is not None else None,
        # a database that hangs holds up no more than these: the pages' threads are few
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
        timeout=httpx.Timeout(settings.timeout_s, pool=CONNECTION_WAIT_S_MAX),
        verify=verify,
        trust_env=False,  # neither a proxy nor a .netrc of the environment
    )
    writer: LineWriter
    if isinstance(settings, Influx1Series):
        writer = V1LineWriter(client, settings.database)
        return InfluxSeriesStore(settings.name, settings.database, client, writer)
    writer = V2LineWriter(settings.url, settings.org, settings.bucket, secret, settings.timeout_s, ca_file)
    return InfluxSeriesStore(settings.name, settings.bucket, client, writer)


def _credentials(settings: Influx1Series | Influx2Series) -> tuple[str, str | None]:
    """For InfluxQL every generation takes Basic; 2.x and 3.x look at the password only, which is the token."""
    if isinstance(settings, Influx2Series):
        return "token", settings.token.get_secret_value() if settings.token else None
    return settings.username or "", settings.password.get_secret_value() if settings.password else None


def ready(engine: Engine, settings: Settings, store: SeriesStore) -> None:
    """Make the cursors ready for serving with this store.

    With another store than the record's own, it is noted up to which batch the record's series is complete; coming
    back to it, what came in between is filled in before anything else.
    """
    with Session(writing(engine)) as db, db.begin():
        if not settings.in_record:
            newest = db.scalar(select(func.max(StoredBatch.id))) or 0
            rows = [{"store": record.NAME, "batch_id": newest}, {"store": store.name, "batch_id": 0}]
            insert_new(db, SeriesCursor, [{**row, "generation": 0} for row in rows])
            return
    while _fill_record(engine):
        pass


def _fill_record(engine: Engine) -> bool:
    """One portion that the record's own series lacks, as ingest would have written it; whether there was one."""
    with Session(writing(engine)) as db, db.begin():
        cursor = db.get(SeriesCursor, record.NAME)
        if cursor is None:
            return False
        portion = read_portion(db, cursor.batch_id)
        if portion is None:
            db.delete(cursor)
            return False
        for batch in portion.batches:
            record.insert_readings(db, batch.header.box_id, batch.header.boot_id, readings_of(batch))
        record_problems(db, record.NAME, portion, [])
        cursor.batch_id = portion.last_id
        return True
