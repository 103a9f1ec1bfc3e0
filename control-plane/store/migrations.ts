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
]
