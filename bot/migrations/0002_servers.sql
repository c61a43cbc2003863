-- Models that can be renamed, deleted and restored, defaults of servers and channels, fair turns, and block lists.

ALTER TABLE jobs ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 1; -- 0: it costs money and nobody has agreed yet
ALTER TABLE jobs ADD COLUMN started_at TEXT;                      -- when it left the queue
ALTER TABLE jobs ADD COLUMN digest TEXT;                          -- of what it learns from, and how

-- A name is free again once its model is deleted, so the constraint has to become a partial index.
CREATE TABLE models_new (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id   INTEGER NOT NULL,
    name        TEXT NOT NULL COLLATE NOCASE,
    handles     TEXT NOT NULL,           -- JSON list, lower case, sorted
    folder      TEXT NOT NULL UNIQUE,    -- under models/
    created_at  TEXT NOT NULL,
    deleted_at  TEXT                     -- kept for some days, to be restored
);
INSERT INTO models_new SELECT id, server_id, name, handles, folder, created_at, NULL FROM models;
DROP TABLE models;
ALTER TABLE models_new RENAME TO models;
CREATE UNIQUE INDEX one_name ON models (server_id, name) WHERE deleted_at IS NULL;

CREATE TABLE defaults (
    server_id  INTEGER NOT NULL,
    channel_id INTEGER NOT NULL,         -- 0: the server's own
    model_id   INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    PRIMARY KEY (server_id, channel_id)
);

CREATE TABLE blocks (
    server_id  INTEGER NOT NULL,         -- 0: everywhere
    handle     TEXT NOT NULL COLLATE NOCASE,
    created_at TEXT NOT NULL,
    PRIMARY KEY (server_id, handle)
);
