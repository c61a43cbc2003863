-- On what ground each account was learned, and the codes by which members prove which accounts are theirs.

CREATE TABLE consents (
    job_id     INTEGER NOT NULL REFERENCES jobs (id),
    handle     TEXT NOT NULL COLLATE NOCASE,
    source     TEXT NOT NULL,
    ground     TEXT NOT NULL,            -- as who asked said
    is_proven  INTEGER NOT NULL,         -- that it is the asker's own account
    server_id  INTEGER NOT NULL,
    user_id    INTEGER NOT NULL,         -- who asked; 0: forgotten, or the operator
    asked_at   TEXT NOT NULL,
    PRIMARY KEY (job_id, handle)
);

CREATE TABLE proofs (
    user_id    INTEGER NOT NULL,
    handle     TEXT NOT NULL COLLATE NOCASE,
    code       TEXT NOT NULL,            -- that the account's bio has to hold; used up by the first success
    created_at TEXT NOT NULL,
    PRIMARY KEY (user_id, handle)
);
