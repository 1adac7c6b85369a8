-- Schema 1. Times are milliseconds since 1970, amounts billionths of the currency's unit.

-- A process that reserves holds a lock on the file `lock` as long as it lives.
CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    lock TEXT NOT NULL
) STRICT;
CREATE TABLE session_end (
    session INTEGER PRIMARY KEY REFERENCES session (id),
    at INTEGER NOT NULL,
    how TEXT NOT NULL CHECK (how IN ('closed', 'died'))
) STRICT;

CREATE TABLE reservation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES session (id),
    at INTEGER NOT NULL,
    request TEXT NOT NULL,
    user TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    currency TEXT NOT NULL,
    most INTEGER NOT NULL CHECK (most >= 0)
) STRICT;
CREATE INDEX reservation_at ON reservation (at);
CREATE INDEX reservation_request ON reservation (request);
CREATE INDEX reservation_user ON reservation (user);
CREATE INDEX reservation_session ON reservation (session);
CREATE TABLE settlement (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    reservation INTEGER NOT NULL UNIQUE REFERENCES reservation (id),
    at INTEGER NOT NULL,
    charged INTEGER NOT NULL CHECK (charged >= 0),
    claimed INTEGER,
    how TEXT NOT NULL CHECK (how IN ('settled', 'released', 'dropped', 'died'))
) STRICT;
CREATE TRIGGER settlement_within BEFORE INSERT ON settlement
WHEN NEW.charged > (SELECT most FROM reservation WHERE id = NEW.reservation)
BEGIN SELECT RAISE(ABORT, 'more than was reserved'); END;

CREATE TABLE answer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    request TEXT NOT NULL,
    user TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    model TEXT NOT NULL,
    route TEXT NOT NULL CHECK (route IN ('local', 'cloud', 'none')),
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('completed', 'refused', 'failed', 'cancelled')),
    input INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    provider_input INTEGER,
    provider_cached INTEGER,
    provider_cache_write INTEGER,
    provider_output INTEGER,
    provider_reasoning INTEGER,
    first_ms INTEGER,
    total_ms INTEGER NOT NULL,
    energy_uj INTEGER,
    cost_provider TEXT,
    cost_model TEXT,
    cost_currency TEXT,
    cost INTEGER,
    cost_dated TEXT,
    instead_provider TEXT,
    instead_model TEXT,
    instead_currency TEXT,
    instead INTEGER,
    instead_dated TEXT,
    reservation INTEGER,
    decision TEXT NOT NULL CHECK (json_valid(decision))
) STRICT;
CREATE INDEX answer_at ON answer (at);
CREATE INDEX answer_user ON answer (user);
CREATE INDEX answer_request ON answer (request);
CREATE TABLE content (
    answer INTEGER PRIMARY KEY REFERENCES answer (id),
    prompt TEXT,
    reply TEXT
) STRICT;

-- Each door counts its uses from 1.
CREATE TABLE door (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    process INTEGER NOT NULL
) STRICT;
CREATE TABLE passage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    door INTEGER NOT NULL REFERENCES door (id),
    use INTEGER NOT NULL,
    event TEXT NOT NULL,
    request TEXT,
    rule TEXT,
    purpose TEXT,
    method TEXT,
    origin TEXT,
    path TEXT,
    token INTEGER,
    body INTEGER,
    address TEXT,
    proxy TEXT,
    status INTEGER,
    up INTEGER,
    down INTEGER,
    outcome TEXT
) STRICT;
CREATE INDEX passage_use ON passage (door, use);
CREATE INDEX passage_at ON passage (at);
CREATE INDEX passage_request ON passage (request);

-- Rows that could not be kept because too many waited.
CREATE TABLE lost (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    answers INTEGER NOT NULL
) STRICT;

CREATE TABLE erasure (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    what TEXT NOT NULL CHECK (what IN ('user', 'age', 'texts')),
    before INTEGER,
    why TEXT NOT NULL,
    answers INTEGER NOT NULL,
    texts INTEGER NOT NULL,
    reservations INTEGER NOT NULL,
    passages INTEGER NOT NULL
) STRICT;
-- Has a row only within the transaction of an erasure.
CREATE TABLE erasing (id INTEGER PRIMARY KEY CHECK (id = 1)) STRICT;
