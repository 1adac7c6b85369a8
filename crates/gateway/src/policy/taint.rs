//! What stays: conversations that once held something sensitive stay on this machine to their end.
//!
//! A conversation has no name that a client could not leave out, so it is known by many: by the digest of
//! every beginning of it from the sensitive message on, by that message alone, by its answers, by the
//! sensitive spans, by the id of a response and by the client's session. A request that shows any of these
//! belongs to it. What was said is known by its words: white space, case, accents and marks may change. What a user says after the sensitive message counts too, but only two such messages
//! together do: people say "go on" in every conversation.
//!
//! The store holds keyed hashes and times, no text. It is bounded; where it is full of conversations that
//! are not old yet, or cannot be read or written, nothing leaves the machine.

use super::memory::{Memory, name_of};
use super::scan::fold;
use crate::chat::{Digest, Message, Part, Request, Role, ToolCall, message_digest, prefixes_of};
use rusqlite::{Connection, OpenFlags, params};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A keyed hash of something that a conversation is known by.
type Mark = [u8; 16];

/// How much a mark says: this much and the conversation is known.
const KNOWN: u32 = 2;
/// Words of a span at most that are looked for together.
const MOST_WORDS: usize = 8;
/// Bytes of a span at most that are looked for.
const LONGEST_SPAN: usize = 128;
/// A span of fewer letters and digits stands in too many texts.
const SHORTEST_SPAN: usize = 7;
/// An answer of fewer letters and digits is anybody's.
const SHORTEST_ANSWER: usize = 24;
/// The same of what a user says.
const SHORTEST_WORDS: usize = 8;
/// Seconds for which a mark need not be told that its conversation goes on.
const FRESH: u64 = 3600;
/// Messages that are remembered as holding no span.
const REMEMBERED: usize = 50_000;
/// Marks of one request at most; more of it than that is not told apart from all of it.
const MOST_MARKS: usize = 8192;

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Hashes at most.
    pub most: u64,
    /// Seconds after which a conversation that nobody continued is over.
    pub seconds: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            most: 500_000,
            seconds: 180 * 86_400,
        }
    }
}

/// Why the store cannot be used. Nothing leaves the machine then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaintError {
    /// It cannot be opened, read or written.
    #[error(
        "the store of conversations that stay local cannot be used ({0}); until it can, nothing leaves this machine: mend its folder, or move the file away to begin a new one"
    )]
    Unusable(String),
    /// It was made with another secret.
    #[error(
        "the store of conversations that stay local was made with another secret; put that back, or move the file away to begin a new one"
    )]
    OtherSecret,
    /// It is full of conversations that are not old.
    #[error(
        "the store of conversations that stay local is full; until some are old nothing leaves this machine: raise `[policy] remember`"
    )]
    Full,
}

impl From<rusqlite::Error> for TaintError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// The store of conversations that stay.
pub struct Taint {
    /// A hash that has eaten the secret.
    keyed: Sha256,
    bounds: Bounds,
    state: Mutex<State>,
    /// Messages that hold no span, and the last span that they were held against.
    clear: Memory<i64>,
    /// Digests of the words of messages, by those of the messages.
    said: Memory<Digest>,
}

/// What a message is known by: itself, and with all that stands before it. By its words, and as stores of
/// before know it.
struct Known {
    said: Mark,
    begun: Mark,
    message: Mark,
    prefix: Mark,
}

enum State {
    Open(Open),
    Closed(TaintError),
}

struct Open {
    db: Connection,
    /// Marks of spans: those are looked up for every few words.
    spans: HashSet<Mark>,
    /// Lengths of spans, in bytes of letters and digits: what has another is not hashed.
    lengths: HashSet<usize>,
    /// The last row that `spans` knows.
    seen: i64,
    /// Marks that may be added before they are counted again.
    room: u64,
}

impl std::fmt::Debug for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Taint")
    }
}

/// What a conversation that stays is known by: given back when its answer is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    user: String,
    messages: Vec<Message>,
}

impl Taint {
    /// The store at a path, made where there is none.
    ///
    /// # Errors
    /// It cannot be used; [`Taint::closed`] is what then stands in for it.
    pub fn open(path: &Path, secret: &[u8; 32], bounds: Bounds) -> Result<Self, TaintError> {
        private_file(path).map_err(|error| TaintError::Unusable(error.to_string()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::with(Connection::open_with_flags(path, flags)?, secret, bounds)
    }

    /// A store that ends with the process.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn in_memory(secret: &[u8; 32], bounds: Bounds) -> Result<Self, TaintError> {
        Self::with(Connection::open_in_memory()?, secret, bounds)
    }

    /// The same, looking through everything anew each time.
    #[cfg(test)]
    pub(super) fn forgetful(self) -> Self {
        Self {
            clear: Memory::new(0),
            said: Memory::new(0),
            ..self
        }
    }

    /// What stands in for a store that cannot be used: every conversation stays.
    pub fn closed(why: TaintError) -> Self {
        Self {
            keyed: Sha256::new(),
            bounds: Bounds::default(),
            state: Mutex::new(State::Closed(why)),
            clear: Memory::new(0),
            said: Memory::new(0),
        }
    }

    fn with(db: Connection, secret: &[u8; 32], bounds: Bounds) -> Result<Self, TaintError> {
        // A block of the hash for the secret: what follows cannot be computed without it.
        let mut keyed = Sha256::new();
        keyed.update(secret);
        keyed.update([0x36; 32]);
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS marks (
                 id INTEGER PRIMARY KEY AUTOINCREMENT, mark BLOB NOT NULL UNIQUE, weight INTEGER NOT NULL,
                 length INTEGER NOT NULL, seen INTEGER NOT NULL);
             CREATE INDEX IF NOT EXISTS marks_seen ON marks (seen);",
        )?;
        let check = mark(&keyed, "check", "", &[]);
        db.execute(
            "INSERT OR IGNORE INTO about VALUES ('check', ?1)",
            [check.as_slice()],
        )?;
        let kept: Vec<u8> =
            db.query_row("SELECT value FROM about WHERE name = 'check'", [], |row| {
                row.get(0)
            })?;
        if kept != check {
            return Err(TaintError::OtherSecret);
        }
        let mut open = Open {
            db,
            spans: HashSet::new(),
            lengths: HashSet::new(),
            seen: 0,
            room: 0,
        };
        open.refresh()?;
        Ok(Self {
            keyed,
            bounds,
            state: Mutex::new(State::Open(open)),
            clear: Memory::new(REMEMBERED),
            said: Memory::new(REMEMBERED),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which message of a request is the first that belongs to a conversation that stays; where only its
    /// session or the response it follows says so, the first of all.
    ///
    /// # Errors
    /// The store cannot be used: the request stays.
    pub fn first_held(&self, request: &Request) -> Result<Option<usize>, TaintError> {
        let mut state = self.state();
        let open = match &mut *state {
            State::Open(open) => open,
            State::Closed(why) => return Err(why.clone()),
        };
        if open.has_lost()? {
            return Err(TaintError::Full);
        }
        open.refresh()?;
        // One look at the file for all that follows.
        let open = &*open;
        let look = open.db.unchecked_transaction()?;
        let first = self.first_known(open, request);
        drop(look);
        first
    }

    fn first_known(&self, open: &Open, request: &Request) -> Result<Option<usize>, TaintError> {
        let user = request.user.as_str();
        let of = |kind: &str, bytes: &[u8]| mark(&self.keyed, kind, user, bytes);
        let session = request.session.as_deref();
        let named = [
            ("session", session),
            ("response", request.previous.as_deref()),
        ];
        for (kind, id) in named {
            if let Some(id) = id
                && open.weight(&of(kind, id.as_bytes()))? > 0
            {
                return Ok(Some(0));
            }
        }
        let mut weak = HashSet::new();
        let mut first_weak = None;
        let names = self.known(user, &request.messages);
        for (i, (message, known)) in request.messages.iter().zip(names).enumerate() {
            let weight = open.weight(&known.said)?.max(open.weight(&known.message)?);
            if weight >= KNOWN
                || open.weight(&known.begun)? > 0
                || open.weight(&known.prefix)? > 0
                || self.holds_span(open, user, message)
            {
                return Ok(Some(first_weak.unwrap_or(i)));
            }
            if weight > 0 {
                first_weak.get_or_insert(i);
                weak.insert(known.said);
                if weak.len() >= 2 {
                    return Ok(first_weak);
                }
            }
        }
        Ok(None)
    }

    /// What each message is known by.
    fn known(&self, user: &str, messages: &[Message]) -> Vec<Known> {
        let of = |kind: &str, digest: &Digest| mark(&self.keyed, kind, user, &digest.0);
        let digests: Vec<Digest> = messages.iter().map(message_digest).collect();
        let said = messages.iter().zip(&digests);
        let said: Vec<Digest> = said
            .map(|(message, digest)| self.said(message, digest))
            .collect();
        let (prefixes, begun) = (prefixes_of(user, &digests), prefixes_of(user, &said));
        let each = digests.iter().zip(&said).zip(prefixes.iter().zip(&begun));
        each.map(|((message, said), (prefix, begun))| Known {
            said: of("said", said),
            begun: of("begun", begun),
            message: of("message", message),
            prefix: of("prefix", prefix),
        })
        .collect()
    }

    /// A digest of a message by its words.
    fn said(&self, message: &Message, digest: &Digest) -> Digest {
        if let Some(said) = self.said.get(&digest.0, |_| 1) {
            return said;
        }
        let said = message_digest(&plain(message));
        self.said.put(digest.0, said, 1);
        said
    }

    /// Whether a message holds a span that stays, whatever stands around it and however it is cut.
    fn holds_span(&self, open: &Open, user: &str, message: &Message) -> bool {
        if open.lengths.is_empty() {
            return false;
        }
        let mut text = message.content();
        for call in &message.calls {
            text.push('\n');
            text.push_str(&call.arguments);
        }
        let name = name_of(&format!("{user}\0{text}"));
        if self.clear.get(&name, |_| 1) == Some(open.seen) {
            return false;
        }
        let words = words(&text);
        let holds = (0..words.len()).any(|first| {
            let mut joined = String::new();
            let ahead = words.iter().skip(first).take(MOST_WORDS);
            ahead.into_iter().any(|word| {
                joined.push_str(word);
                joined.len() <= LONGEST_SPAN
                    && open.lengths.contains(&joined.len())
                    && open
                        .spans
                        .contains(&mark(&self.keyed, "span", user, joined.as_bytes()))
            })
        });
        if !holds {
            self.clear.put(name, open.seen, 1);
        }
        holds
    }

    /// Keeps a conversation here from its message number `first` on. `spans` are the sensitive texts in it,
    /// `alone` the numbers of the messages that hold them. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The store is full or cannot be written. It remembers that, and lets nothing leave from then on.
    pub fn hold(
        &self,
        request: &Request,
        first: usize,
        alone: &[usize],
        spans: &[&str],
        now: u64,
    ) -> Result<Held, TaintError> {
        let user = request.user.as_str();
        let of = |kind: &str, bytes: &[u8]| mark(&self.keyed, kind, user, bytes);
        let mut marks = Vec::new();
        let named = [
            ("session", &request.session),
            ("response", &request.previous),
            ("response", &request.response),
        ];
        for (kind, id) in named {
            marks.extend(id.iter().map(|id| Row::strong(of(kind, id.as_bytes()))));
        }
        // A system text alone is no conversation: others begin with it too.
        let begun = (request.messages.iter()).position(|m| m.role != Role::System);
        let first_prefix = if alone.contains(&first) {
            first
        } else {
            first.max(begun.unwrap_or(usize::MAX))
        };
        let known = self.known(user, &request.messages);
        let begun = known.iter().skip(first_prefix);
        marks.extend(begun.map(|known| Row::strong(known.begun)));
        let messages = request.messages.iter().zip(&known).enumerate();
        for (i, (message, known)) in messages.skip(first) {
            if alone.contains(&i) {
                marks.push(Row::strong(known.said));
            } else {
                marks.extend(weight_of(message).map(|weight| Row::of(known.said, weight)));
            }
        }
        for span in spans {
            let words = words(span);
            let joined = words.concat();
            let known = joined.len() >= SHORTEST_SPAN && joined.len() <= LONGEST_SPAN;
            if known && words.len() <= MOST_WORDS {
                let mark = of("span", joined.as_bytes());
                marks.push(Row::span(mark, joined.len()));
            }
        }
        marks.truncate(MOST_MARKS);
        self.keep(&marks, now)?;
        Ok(Held {
            user: user.to_owned(),
            messages: request.messages.clone(),
        })
    }

    /// Keeps the answer of a conversation that stays, too: a client that sends it back without what was
    /// asked before does not get it out.
    ///
    /// # Errors
    /// As [`Taint::hold`].
    pub fn answered(&self, held: &Held, answer: &Message, now: u64) -> Result<(), TaintError> {
        let mut messages = held.messages.clone();
        messages.push(answer.clone());
        let known = self.known(&held.user, &messages).pop();
        let mut marks = Vec::new();
        if let Some(known) = known {
            marks.extend(weight_of(answer).map(|weight| Row::of(known.said, weight)));
            marks.push(Row::strong(known.begun));
        }
        self.keep(&marks, now)
    }

    /// How many hashes are kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn kept(&self) -> Result<u64, TaintError> {
        match &*self.state() {
            State::Open(open) => open.count(),
            State::Closed(why) => Err(why.clone()),
        }
    }

    fn keep(&self, marks: &[Row], now: u64) -> Result<(), TaintError> {
        match &mut *self.state() {
            State::Open(open) => {
                let kept = open.keep(marks, now, &self.bounds);
                // Until marks can be kept again, anything may belong to a conversation that stays.
                open.set_lost(kept.is_err())?;
                kept
            }
            State::Closed(why) => Err(why.clone()),
        }
    }
}

/// A mark as it is kept.
struct Row {
    mark: Mark,
    weight: u32,
    /// Of a span, in bytes; 0 for all else.
    length: usize,
}

impl Row {
    fn of(mark: Mark, weight: u32) -> Self {
        Self {
            mark,
            weight,
            length: 0,
        }
    }

    fn strong(mark: Mark) -> Self {
        Self::of(mark, KNOWN)
    }

    fn span(mark: Mark, length: usize) -> Self {
        Self {
            length,
            ..Self::strong(mark)
        }
    }
}

impl Open {
    fn weight(&self, mark: &Mark) -> Result<u32, TaintError> {
        let mut find = self
            .db
            .prepare_cached("SELECT weight FROM marks WHERE mark = ?1")?;
        let mut rows = find.query([mark.as_slice()])?;
        Ok(rows.next()?.map_or(Ok(0), |row| row.get(0))?)
    }

    /// Whether marks could not be kept when they last should have been, by whichever process.
    fn has_lost(&self) -> Result<bool, TaintError> {
        let mut lost = self
            .db
            .prepare_cached("SELECT 1 FROM about WHERE name = 'lost'")?;
        Ok(lost.exists([])?)
    }

    fn set_lost(&self, lost: bool) -> Result<(), TaintError> {
        if lost != self.has_lost()? {
            let change = match lost {
                true => "INSERT OR REPLACE INTO about VALUES ('lost', x'')",
                false => "DELETE FROM about WHERE name = 'lost'",
            };
            self.db.execute(change, [])?;
        }
        Ok(())
    }

    fn count(&self) -> Result<u64, TaintError> {
        let mut count = self.db.prepare_cached("SELECT count(*) FROM marks")?;
        let n: i64 = count.query_row([], |row| row.get(0))?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    /// Whether a mark was kept not long ago, and says as much.
    fn is_kept(&self, row: &Row, fresh: i64) -> Result<bool, TaintError> {
        let mut find = self
            .db
            .prepare_cached("SELECT weight >= ?2 AND seen >= ?3 FROM marks WHERE mark = ?1")?;
        let mut rows = find.query(params![row.mark.as_slice(), row.weight, fresh])?;
        Ok(rows.next()?.map_or(Ok(false), |row| row.get(0))?)
    }

    /// Lets old marks go where there is no room for so many more.
    fn make_room(&mut self, marks: usize, now: u64, bounds: &Bounds) -> Result<(), TaintError> {
        let more = u64::try_from(marks).unwrap_or(u64::MAX);
        if let Some(left) = self.room.checked_sub(more) {
            self.room = left;
            return Ok(());
        }
        if self.count()?.saturating_add(more) > bounds.most {
            let old = i64::try_from(now.saturating_sub(bounds.seconds)).unwrap_or(i64::MAX);
            self.db
                .execute("DELETE FROM marks WHERE seen < ?1", [old])?;
            if self.count()?.saturating_add(more) > bounds.most {
                return Err(TaintError::Full);
            }
        }
        // To count them takes as long as there are many. Other processes add marks too.
        let left = bounds
            .most
            .saturating_sub(self.count()?.saturating_add(more));
        self.room = left / 4;
        Ok(())
    }

    /// Learns the spans that were kept since, by whichever process.
    fn refresh(&mut self) -> Result<(), TaintError> {
        let mut new = self
            .db
            .prepare_cached("SELECT id, mark, length FROM marks WHERE id > ?1 AND length > 0")?;
        let mut rows = new.query([self.seen])?;
        while let Some(row) = rows.next()? {
            let (id, mark, length): (i64, Mark, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            self.spans.insert(mark);
            self.lengths.insert(usize::try_from(length).unwrap_or(0));
            self.seen = self.seen.max(id);
        }
        Ok(())
    }

    fn keep(&mut self, marks: &[Row], now: u64, bounds: &Bounds) -> Result<(), TaintError> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let fresh = signed(now.saturating_sub(FRESH.min(bounds.seconds / 4)));
        let mut new = Vec::new();
        for row in marks {
            if !self.is_kept(row, fresh)? {
                new.push(row);
            }
        }
        let marks = new;
        if marks.is_empty() {
            return Ok(());
        }
        self.make_room(marks.len(), now, bounds)?;
        let all = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut put = all.prepare_cached(
                "INSERT INTO marks (mark, weight, length, seen) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (mark) DO UPDATE SET
                     seen = max(seen, excluded.seen), weight = max(weight, excluded.weight)",
            )?;
            for row in marks {
                put.execute(params![
                    row.mark.as_slice(),
                    row.weight,
                    size(row.length),
                    signed(now)
                ])?;
            }
        }
        all.commit()?;
        self.refresh()
    }
}

/// How much a message that came behind the sensitive one says, if anything.
fn weight_of(message: &Message) -> Option<u32> {
    let said = message
        .content()
        .chars()
        .filter(|c| c.is_alphanumeric())
        .count();
    match message.role {
        Role::Assistant if said >= SHORTEST_ANSWER || !message.calls.is_empty() => Some(KNOWN),
        Role::Assistant | Role::User if said >= SHORTEST_WORDS => Some(1),
        _ => None,
    }
}

/// A message of the same words, small, with single spaces and without marks and accents.
fn plain(message: &Message) -> Message {
    let plain = |text: &str| words(text).join(" ");
    let call = |call: &ToolCall| {
        // Members in order, as they are compared.
        let sorted = serde_json::from_str::<serde_json::Value>(&call.arguments);
        let arguments = sorted.map_or_else(
            |_| call.arguments.clone(),
            |mut value| {
                value.sort_all_objects();
                value.to_string()
            },
        );
        ToolCall {
            arguments: plain(&arguments),
            ..call.clone()
        }
    };
    let images = message
        .parts
        .iter()
        .filter(|part| !matches!(part, Part::Text(_)));
    let text = Part::Text(plain(&message.content()));
    Message {
        parts: std::iter::once(text).chain(images.cloned()).collect(),
        calls: message.calls.iter().map(call).collect(),
        ..message.clone()
    }
}

/// A text's letters and digits, small, word by word.
fn words(text: &str) -> Vec<String> {
    let text = fold(text);
    let words = text.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn mark(keyed: &Sha256, kind: &str, user: &str, bytes: &[u8]) -> Mark {
    let mut inner = keyed.clone();
    for piece in [kind.as_bytes(), user.as_bytes(), bytes] {
        inner.update(u64::try_from(piece.len()).unwrap_or(u64::MAX).to_le_bytes());
        inner.update(piece);
    }
    let mut whole = keyed.clone();
    whole.update(inner.finalize());
    let mut mark = Mark::default();
    mark.iter_mut()
        .zip(whole.finalize())
        .for_each(|(to, byte)| *to = byte);
    mark
}

/// Makes the file where there is none, and sees to it that only its owner can read it.
fn private_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(())
    }
    #[cfg(not(unix))]
    options.open(path).map(drop)
}
