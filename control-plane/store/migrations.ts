/**
 * The database's schema as steps from empty: step n leads to `user_version` n + 1. A step that was released is never edited.
 * Definitions are documents, since they are read whole; records are columns, since they are searched.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE namespaces (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE functions (
    namespace TEXT NOT NULL REFERENCES namespaces (name),
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (namespace, name)
  ) STRICT, WITHOUT ROWID;
  -- Outlives the function: an instance of a deleted function must not look like one of the next function of that name.
  CREATE TABLE revisions (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE documents (
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (collection, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    request_id TEXT NOT NULL UNIQUE,
    caller_request_id TEXT,
    namespace TEXT NOT NULL,
    function TEXT NOT NULL,
    version TEXT NOT NULL,
    kind TEXT NOT NULL,
    instance TEXT,
    started_at_ms INTEGER NOT NULL,
    duration_ms REAL NOT NULL,
    status_code INTEGER NOT NULL,
    error_message TEXT,
    memory_bytes INTEGER NOT NULL,
    memory_limit_mb INTEGER NOT NULL,
    cold_start TEXT
  ) STRICT;
  CREATE INDEX records_by_function ON records (namespace, function, started_at_ms);
  `,
  `
  CREATE TABLE pull_credentials (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL,
    registry TEXT NOT NULL,
    repository TEXT NOT NULL,
    provider TEXT NOT NULL,
    made_at_ms INTEGER NOT NULL,
    deadline_ms INTEGER NOT NULL,
    secret_hash TEXT,
    first_used_at_ms INTEGER,
    ended_at_ms INTEGER,
    end_reason TEXT,
    bearers INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX pull_credentials_in_force ON pull_credentials (deadline_ms) WHERE ended_at_ms IS NULL;
  CREATE TABLE pull_credential_starts (
    credential TEXT NOT NULL,
    number INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    function TEXT NOT NULL,
    version TEXT NOT NULL,
    instance TEXT,
    joined_at_ms INTEGER NOT NULL,
    PRIMARY KEY (credential, number)
  ) STRICT, WITHOUT ROWID;
  ALTER TABLE records ADD COLUMN queue_ms REAL;
  -- Of cold starts only: warm calls, nearly all, do not pay for it.
  CREATE INDEX records_by_credential ON records (json_extract(cold_start, '$.credential')) WHERE cold_start IS NOT NULL;
  `,
  // Of a job's process.
  'ALTER TABLE records ADD COLUMN exit_code INTEGER',
]
