"""The schema goes up and down with data in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from kinemesh_ingest import migrations
from kinemesh_ingest.catalogue.schema import migrate, revisions
from kinemesh_ingest.catalogue.tables import metadata
from kinemesh_ingest.migrate import main

MIGRATIONS = Path(migrations.__file__).parent
ASSET = (
    "INSERT INTO assets (asset_id, owner, filename, content_type, size_bytes, state, upload_id{more}) "
    "VALUES (:id, 'ada', 'a.mp4', 'video/mp4', 1, 'READY', ''{values})"
)
JOB = (
    "INSERT INTO jobs (job_id, owner, pipeline, state, stage, progress, parameters, outputs, summary, trace) "
    "VALUES ('job', 'ada', 'instructor', 'SUCCEEDED', 'finalize', 1, '{}', '[]', '{}', '{}')"
)


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    """A database of its own."""
    engine = create_engine(postgres_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE migrations"))
        yield make_url(postgres_url).set(database="migrations").render_as_string(hide_password=False)
        connection.execute(text("DROP DATABASE migrations WITH (FORCE)"))
    engine.dispose()


def run(url: str, *statements: tuple[str, dict[str, Any]]) -> list[Any]:
    """Execute; answers with the rows of the last."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        results = [connection.execute(text(statement), values) for statement, values in statements]
        rows = list(results[-1].all()) if results[-1].returns_rows else []
    engine.dispose()
    return rows


def differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def counts(url: str) -> dict[str, int]:
    """How many rows every table has."""
    tables = run(
        url, ("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'", {})
    )
    return {name: run(url, (f"SELECT count(*) FROM {name}", {}))[0][0] for (name,) in tables}


def test_the_command_goes_up_and_down_and_says_where_it_is(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINEMESH_DATABASE__URL", url)
    newest = revisions(url).newest
    assert main(["check"]) == 1
    assert "SCHEMA_TOO_OLD" in capsys.readouterr().err
    assert main(["upgrade", "--to", "0001"]) == 0
    assert main(["current"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"current 0001, newest {newest}"
    assert main(["upgrade"]) == main(["check"]) == 0
    assert main(["downgrade", "--to", "0003"]) == 0
    assert revisions(url).current == "0003"
    assert main(["downgrade", "--to", "9000"]) == 1
    assert "UNKNOWN_REVISION" in capsys.readouterr().err


def test_every_step_keeps_what_was_there(url: str) -> None:
    """Up from every revision, with data that only the one before can have; down and up again."""
    migrate(url, "0001")
    run(url, (ASSET.format(more="", values=""), {"id": "before"}), (JOB, {}))
    known = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
    for name in known[1:]:
        before = counts(url)
        migrate(url, name)
        after = counts(url)
        assert {table: after[table] for table in before} == before, name
    for name in reversed(known[:-1]):
        migrate(url, name)
        migrate(url, "head")
        migrate(url, name)
        assert counts(url)["assets"] == counts(url)["jobs"] == 1


def test_data_survives_up_and_down(url: str) -> None:
    migrate(url, "0001")
    run(url, (ASSET.format(more="", values=""), {"id": "before"}))
    migrate(url, "head")
    assert run(url, ("SELECT kind FROM assets", {})) == [("VIDEO",)]
    run(
        url,
        (ASSET.format(more=", kind", values=", 'WEIGHTS'"), {"id": "weights"}),
        (JOB, {}),
        ("INSERT INTO sessions (session_id, owner, display_name, asset_id) VALUES ('s', 'ada', 'n', 'before')", {}),
        ("INSERT INTO session_jobs (session_id, job_id) VALUES ('s', 'job')", {}),
    )
    migrate(url, "0001")
    assert run(url, ("SELECT asset_id FROM assets", {})) == [("before",)]
    assert run(url, ("SELECT job_id FROM jobs", {})) == [("job",)]
    migrate(url, "head")
    assert run(url, ("SELECT count(*) FROM sessions", {})) == [(0,)]
    run(
        url,
        ("INSERT INTO job_inputs (job_id, camera, asset_id, position) VALUES ('job', 'main', 'before', 0)", {}),
        ("INSERT INTO segments VALUES ('job', 'main', 0, 0, 10, 0)", {}),
        (JOB.replace("'job'", "'sites'").replace("instructor", "multi_camera"), {}),
        ("INSERT INTO environments (owner, environment_id, display_name, document) VALUES ('ada', 'e', 'e', '{}')", {}),
        ("INSERT INTO environment_jobs SELECT 'sites', environment_key FROM environments", {}),
        ("INSERT INTO identity_jobs VALUES ('sites', 'someone')", {}),
        ("INSERT INTO forgettings VALUES ('sites', 'someone')", {}),
    )
    assert run(url, ("SELECT start_sec, stop_sec FROM segments", {})) == [(0.0, 0.0)]
    migrate(url, "0002")
    assert run(url, ("SELECT job_id FROM jobs", {})) == [("job",)]
    assert run(url, ("SELECT camera FROM job_inputs", {})) == [("main",)]
    migrate(url, "head")
    assert run(url, ("SELECT count(*) FROM environments", {})) == [(0,)]
    run(
        url,
        (JOB.replace("'job'", "'climb'").replace("instructor", "route_match"), {}),
        (ASSET.format(more=", kind", values=", 'IMAGE'").replace("'ada'", "''"), {"id": "wall"}),
        ("INSERT INTO areas (area_id, owner, display_name, description) VALUES ('a', 'ada', 'crag', '')", {}),
        (
            "INSERT INTO reference_images (reference_id, owner, display_name, source, asset_id, content_type, width, "
            "height) VALUES ('wall', '', 'Wall', 'BUILT_IN', 'wall', 'image/jpeg', 4, 3)",
            {},
        ),
        (
            "INSERT INTO routes (route_id, area_id, owner, display_name, description, grade, reference_id) "
            "VALUES ('r', 'a', 'ada', 'crack', '', '6b', 'wall')",
            {},
        ),
        ("UPDATE reference_images SET route_id = 'r'", {}),
        (
            "INSERT INTO attempts (attempt_id, route_id, area_id, owner, display_name, notes, asset_id, topped, "
            "data_prefix, job_id) VALUES ('t', 'r', 'a', 'ada', '', '', 'before', true, 'routes/', 'climb')",
            {},
        ),
        ("INSERT INTO match_jobs (job_id, image_asset_id, reference_id) VALUES ('climb', 'wall', 'wall')", {}),
        ("INSERT INTO attempt_jobs (job_id, attempt_id) VALUES ('climb', 't')", {}),
        ("INSERT INTO tree_revisions VALUES ('ada', 1)", {}),
    )
    migrate(url, "0003")
    assert run(url, ("SELECT job_id FROM jobs", {})) == [("job",)]
    assert run(url, ("SELECT asset_id FROM assets", {})) == [("before",)]
    migrate(url, "head")
    assert run(url, ("SELECT count(*) FROM areas", {})) == [(0,)]
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()
    migrate(url, "base")
    migrate(url, "head")
