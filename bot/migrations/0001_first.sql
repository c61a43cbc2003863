-- Jobs, models and their versions, and settings by server. Server 0 is the operator's own console.

CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id   INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    channel_id  INTEGER,
    message_id  INTEGER,                 -- the progress message, if there is one
    announced   INTEGER NOT NULL DEFAULT 0, -- whether the channel was told how it ended
    model       TEXT COLLATE NOCASE,     -- NULL until the archive has told whose it is
    handles     TEXT NOT NULL,           -- JSON list, as far as known
    state       TEXT NOT NULL CHECK (state IN
                    ('queued', 'collecting', 'fitting', 'saving', 'done', 'failed', 'cancelled')),
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    breakdowns  INTEGER NOT NULL DEFAULT 0, -- children that died under it
    version     INTEGER,                 -- the number that its version gets, from `saving` on
    error       TEXT,
    created_at  TEXT NOT NULL,
    ended_at    TEXT
);

-- One active job for the same work, kept by the database.
CREATE UNIQUE INDEX one_active_job ON jobs (server_id, model)
    WHERE model IS NOT NULL AND state IN ('queued', 'collecting', 'fitting', 'saving');

CREATE TABLE models (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id   INTEGER NOT NULL,
    name        TEXT NOT NULL COLLATE NOCASE,
    handles     TEXT NOT NULL,           -- JSON list, lower case, sorted
    folder      TEXT NOT NULL UNIQUE,    -- under models/
    created_at  TEXT NOT NULL,
    UNIQUE (server_id, name)
);

CREATE TABLE versions (
    model_id      INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    number        INTEGER NOT NULL,
    job_id        INTEGER NOT NULL UNIQUE REFERENCES jobs (id),
    posts         INTEGER NOT NULL,
    bits_per_byte REAL NOT NULL,
    created_at    TEXT NOT NULL,
    PRIMARY KEY (model_id, number)
);

CREATE TABLE settings (
    server_id INTEGER NOT NULL,
    key       TEXT NOT NULL,
    value     TEXT NOT NULL,
    PRIMARY KEY (server_id, key)
);
