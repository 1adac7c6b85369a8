//! A row, written and read.

use rusqlite::types::Value;
use rusqlite::{Row as Line, params};

use super::writer::{Work, millis};
use super::{Currency, Decision, LedgerError, Money, Outcome, Priced, Route, Row, Tokens};

/// The longest text of one field, in bytes.
const MOST_WORD: usize = 4096;
/// The longest text of a request or an answer that is kept.
const MOST_TEXT: usize = 1 << 20;

/// The columns of a row, in the order in which [`read`] wants them.
pub(super) const COLUMNS: &str = "id, at, request, user, asked_model, model, route, reason, outcome, \
    input, cached, cache_write, output, reasoning, provider_input, provider_cached, \
    provider_cache_write, provider_output, provider_reasoning, first_ms, total_ms, energy_uj, \
    cost_provider, cost_model, cost_currency, cost, cost_dated, \
    instead_provider, instead_model, instead_currency, instead, instead_dated, reservation, decision";

/// At most so many bytes of it.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// As SQLite keeps it.
fn int(n: u64) -> Value {
    Value::Integer(millis(n))
}

fn word(text: &str) -> Value {
    Value::Text(cut(text, MOST_WORD).to_owned())
}

fn priced(priced: Option<&Priced>) -> [Value; 5] {
    match priced {
        None => [const { Value::Null }; 5],
        Some(priced) => [
            word(&priced.provider),
            word(&priced.model),
            word(priced.cost.currency.code()),
            Value::Integer(priced.cost.nanos),
            word(&priced.dated),
        ],
    }
}

fn tokens(tokens: Option<&Tokens>) -> [Value; 5] {
    match tokens {
        None => [const { Value::Null }; 5],
        Some(t) => [t.input, t.cached, t.cache_write, t.output, t.reasoning].map(int),
    }
}

/// Writes a row; its number.
pub(super) fn append(work: &mut Work<'_>, row: &Row) -> Result<u64, LedgerError> {
    let decision = serde_json::to_string(&row.decision).unwrap_or_else(|_| "{}".to_owned());
    let mut values = vec![
        int(row.at),
        word(&row.request),
        word(row.user.as_deref().unwrap_or_default()),
        word(&row.asked_model),
        word(&row.model),
        word(row.route.word()),
        word(&row.reason),
        word(row.outcome.word()),
    ];
    values.extend(tokens(Some(&row.tokens)));
    values.extend(tokens(row.provider_tokens.as_ref()));
    values.push(row.first_ms.map_or(Value::Null, int));
    values.push(int(row.total_ms));
    values.push(row.energy_uj.map_or(Value::Null, int));
    values.extend(priced(row.cost.as_ref()));
    values.extend(priced(row.instead.as_ref()));
    values.push(row.reservation.map_or(Value::Null, int));
    values.push(Value::Text(decision));
    let columns = COLUMNS.split_once(", ").map_or("", |(_, rest)| rest);
    let marks = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO answer ({columns}) VALUES ({marks})");
    let insert = work.connection.prepare_cached(&sql);
    let written = insert.and_then(|mut insert| insert.insert(rusqlite::params_from_iter(values)));
    let id = written.map_err(|error| work.of(&error))?;
    let texts = [&row.prompt, &row.answer];
    if work.options.keep_texts && texts.iter().any(|text| text.is_some()) {
        let [prompt, reply] = texts.map(|text| text.as_deref().map(|text| cut(text, MOST_TEXT)));
        let sql = "INSERT INTO content (answer, prompt, reply) VALUES (?1, ?2, ?3)";
        let written = work.connection.execute(sql, params![id, prompt, reply]);
        written.map_err(|error| work.of(&error))?;
    }
    Ok(u64::try_from(id).unwrap_or(0))
}

fn read_tokens(line: &Line<'_>, at: usize) -> rusqlite::Result<Option<Tokens>> {
    let one = |i: usize| -> rusqlite::Result<Option<u64>> {
        let n: Option<i64> = line.get(at + i)?;
        Ok(n.map(|n| u64::try_from(n).unwrap_or(0)))
    };
    let all = [one(0)?, one(1)?, one(2)?, one(3)?, one(4)?];
    let [
        Some(input),
        Some(cached),
        Some(cache_write),
        Some(output),
        Some(reasoning),
    ] = all
    else {
        return Ok(None);
    };
    Ok(Some(Tokens {
        input,
        cached,
        cache_write,
        output,
        reasoning,
    }))
}

fn read_priced(line: &Line<'_>, at: usize) -> rusqlite::Result<Option<Priced>> {
    let provider: Option<String> = line.get(at)?;
    let currency: Option<String> = line.get(at + 2)?;
    let nanos: Option<i64> = line.get(at + 3)?;
    let currency = currency.and_then(|text| text.parse::<Currency>().ok());
    let (Some(provider), Some(currency), Some(nanos)) = (provider, currency, nanos) else {
        return Ok(None);
    };
    let text = |i: usize| {
        line.get::<_, Option<String>>(at + i)
            .map(Option::unwrap_or_default)
    };
    Ok(Some(Priced {
        provider,
        model: text(1)?,
        cost: Money { nanos, currency },
        dated: text(4)?,
    }))
}

/// A row of [`COLUMNS`] and its number. Texts are not read.
pub(super) fn read(line: &Line<'_>) -> rusqlite::Result<(i64, Row)> {
    let count = |i: usize| -> rusqlite::Result<Option<u64>> {
        let n: Option<i64> = line.get(i)?;
        Ok(n.map(|n| u64::try_from(n).unwrap_or(0)))
    };
    let user: String = line.get(3)?;
    let decision: String = line.get(33)?;
    let row = Row {
        at: count(1)?.unwrap_or(0),
        request: line.get(2)?,
        user: Some(user).filter(|user| !user.is_empty()),
        asked_model: line.get(4)?,
        model: line.get(5)?,
        route: Route::of_word(&line.get::<_, String>(6)?),
        reason: line.get(7)?,
        outcome: Outcome::of_word(&line.get::<_, String>(8)?),
        tokens: read_tokens(line, 9)?.unwrap_or_default(),
        provider_tokens: read_tokens(line, 14)?,
        first_ms: count(19)?,
        total_ms: count(20)?.unwrap_or(0),
        energy_uj: count(21)?,
        cost: read_priced(line, 22)?,
        instead: read_priced(line, 27)?,
        reservation: count(32)?,
        // A newer Ingle may have written more: what is known of it is read.
        decision: serde_json::from_str::<Decision>(&decision).unwrap_or_default(),
        prompt: None,
        answer: None,
    };
    Ok((line.get(0)?, row))
}
