//! The ledger as those use it who write and read it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod support;

use std::sync::atomic::Ordering;

use ingle_egress::{Event, Log as _, Row as Passage};
use ingle_gateway::ledger::{
    By, Cap, Caps, Currency, Erase, Ledger, LedgerError, Money, Options, Outcome, Reader, Route,
    Span, Tokens, Zone,
};
use support::{DAY, Home, NOON, row, usd, wanted};

#[test]
fn two_thousand_at_once_and_one_dollar() {
    let home = Home::new();
    let caps = Caps {
        all: Cap {
            day: Some(usd("1").nanos),
            month: None,
        },
        ..Caps::default()
    };
    let ledger = home.open_with(caps);
    // 2,000 tasks on several threads; a third of a cent each, so 300 have room.
    let price = "0.003333333";
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    let held = runtime.block_on(async {
        let tasks: Vec<_> = (0..2000)
            .map(|n| {
                let ledger = ledger.clone();
                tokio::spawn(async move {
                    ledger
                        .reserve(wanted(&format!("r{n}"), Some("anna"), price))
                        .await
                })
            })
            .collect();
        let mut held = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(reservation) => held.push(reservation),
                Err(LedgerError::Cap {
                    limit,
                    spent,
                    wanted,
                    ..
                }) => {
                    assert!(spent.nanos <= limit.nanos && spent.nanos + wanted.nanos > limit.nanos);
                }
                Err(other) => panic!("{other}"),
            }
        }
        held
    });
    assert_eq!(held.len(), 300);
    let costs = home
        .reader()
        .costs(Span::default(), By::Day, &Zone::default())
        .unwrap();
    assert_eq!(costs.reserved, [usd("0.9999999")]);
    // Settled for less, there is room again, to the billionth.
    for reservation in held {
        assert_eq!(
            reservation.settle(usd("0.001")).wait().unwrap(),
            usd("0.001")
        );
    }
    let left = ledger.budget(Some("anna")).wait().unwrap().left().unwrap();
    assert_eq!(left, usd("0.7"));
    let all = ledger.reserve(wanted("all", None, "0.7")).wait().unwrap();
    assert!(matches!(
        ledger.reserve(wanted("more", None, "0.000000001")).wait(),
        Err(LedgerError::Cap { .. })
    ));
    all.release().wait().unwrap();
    assert_eq!(ledger.budget(None).wait().unwrap().left(), Some(usd("0.7")));
}

#[test]
fn processes_share_a_cap() {
    // Two ledgers on one file are two processes to each other.
    let home = Home::new();
    let caps = || Caps {
        all: Cap {
            day: None,
            month: Some(usd("1").nanos),
        },
        ..Caps::default()
    };
    let ledgers = [home.open_with(caps()), home.open_with(caps())];
    let tasks: Vec<_> = (0..2)
        .map(|n| {
            let ledger = ledgers[n].clone();
            std::thread::spawn(move || {
                let one = |i| {
                    ledger
                        .reserve(wanted(&format!("{n}-{i}"), None, "0.01"))
                        .wait()
                };
                (0..100).filter_map(|i| one(i).ok()).collect::<Vec<_>>()
            })
        })
        .collect();
    let held: Vec<_> = tasks
        .into_iter()
        .flat_map(|task| task.join().unwrap())
        .collect();
    assert_eq!(held.len(), 100);
    drop(held);
}

#[test]
fn caps_by_day_month_user_and_request() {
    let home = Home::new();
    let cap = |day: &str, month: &str| Cap {
        day: Some(usd(day).nanos),
        month: Some(usd(month).nanos),
    };
    let caps = Caps {
        all: cap("3", "100"),
        each_user: cap("1", "2.5"),
        users: [("rich".to_owned(), cap("2.5", "50"))].into(),
        request: Some(usd("2").nanos),
        ..Caps::default()
    };
    let ledger = home.open_with(caps);
    let spend = |user: &str, amount: &str| {
        let held = ledger.reserve(wanted("r", Some(user), amount)).wait()?;
        held.settle(usd(amount)).wait().map(drop)
    };
    let refused = |user: &str, amount: &str| spend(user, amount).unwrap_err().to_string();
    insta::assert_snapshot!(refused("anna", "2.5"));
    spend("anna", "1").unwrap();
    insta::assert_snapshot!(refused("anna", "0.01"));
    spend("rich", "2").unwrap();
    insta::assert_snapshot!(refused("rich", "0.01"));
    // The next day: the user's month has 1.50 left, of which 1 a day.
    home.clock.store(NOON + DAY, Ordering::Relaxed);
    spend("anna", "1").unwrap();
    home.clock.store(NOON + 2 * DAY, Ordering::Relaxed);
    insta::assert_snapshot!(refused("anna", "0.6"));
    // The next month everything begins anew; a clock that goes back finds what was spent then.
    home.clock.store(NOON + 31 * DAY, Ordering::Relaxed);
    spend("anna", "1").unwrap();
    home.clock.store(NOON, Ordering::Relaxed);
    assert!(spend("anna", "0.01").is_err());
    let euro = Money {
        nanos: 1,
        currency: "EUR".parse().unwrap(),
    };
    let mut foreign = wanted("r", None, "0");
    foreign.most = euro;
    insta::assert_snapshot!(ledger.reserve(foreign).wait().err().unwrap().to_string());
    let mut negative = wanted("r", None, "0");
    negative.most = Money {
        nanos: -1,
        currency: Currency::USD,
    };
    assert!(matches!(
        ledger.reserve(negative).wait(),
        Err(LedgerError::Negative(_))
    ));
}

#[test]
fn a_reservation_ends_once_and_in_any_case() {
    let home = Home::new();
    let ledger = home.open();
    let reserve = |name: &str| ledger.reserve(wanted(name, None, "0.5")).wait().unwrap();
    // A provider that claims more than was allowed is charged as allowed, and its claim is shown.
    assert_eq!(
        reserve("greedy").settle(usd("9")).wait().unwrap(),
        usd("0.5")
    );
    assert_eq!(reserve("nothing").release().wait().unwrap(), usd("0"));
    drop(reserve("dropped"));
    // Asked for and never waited for: nobody can have used it.
    drop(ledger.reserve(wanted("unwanted", None, "0.5")));
    // Asked for, answered, and never looked at.
    let unseen = ledger.reserve(wanted("unseen", None, "0.5"));
    ledger.budget(None).wait().unwrap();
    drop(unseen);
    drop(ledger);
    let reader = home.reader();
    assert_eq!(reader.summary().unwrap().open, 0);
    let costs = reader
        .costs(Span::default(), By::Day, &Zone::default())
        .unwrap();
    assert_eq!(costs.total.spent, [usd("1")]);
    let bill = &costs.reconciled[0];
    assert_eq!(
        (bill.beyond.as_slice(), bill.unknown),
        ([usd("8.5")].as_slice(), 1)
    );
    assert!(
        home.files().iter().all(|name| !name.contains("session")),
        "{:?}",
        home.files()
    );
}

#[test]
fn rows_come_back_as_they_went() {
    let home = Home::new();
    let ledger = home.open();
    let mut one = row("req-1", Some("anna"), Route::Local, NOON);
    one.prompt = Some("what nobody may keep".into());
    one.reason = "it stays here: \u{1b}[31m' \" ; DROP TABLE answer".into();
    assert_eq!(ledger.append(one.clone()).wait().unwrap(), 1);
    assert_eq!(
        ledger
            .append(row("req-1", None, Route::Cloud, NOON + 1))
            .wait()
            .unwrap(),
        2
    );
    let why = home.reader().why("req-1").unwrap();
    assert_eq!(why.len(), 2);
    let found = &why[1];
    // Nobody asked for texts to be kept.
    one.prompt = None;
    assert_eq!((found.id, &found.row), (1, &one));
    assert_eq!(home.reader().why("#1").unwrap()[0].row, one);
    assert!(home.reader().why("other").unwrap().is_empty());
    assert!(!home.bytes_hold("what nobody may keep"));
    drop(ledger);
    let keeping = home.open_as(Options {
        keep_texts: true,
        ..Options::default()
    });
    one.prompt = Some("what may be kept".into());
    one.request = "req-2".into();
    keeping.append(one.clone()).wait().unwrap();
    assert_eq!(home.reader().why("req-2").unwrap()[0].row, one);
}

#[test]
fn rows_are_only_added() {
    let home = Home::new();
    let ledger = home.open();
    ledger
        .append(row("r", None, Route::Local, NOON))
        .wait()
        .unwrap();
    ledger
        .reserve(wanted("r", None, "1"))
        .wait()
        .unwrap()
        .settle(usd("1"))
        .wait()
        .unwrap();
    let other = rusqlite::Connection::open(&home.path).unwrap();
    for sql in [
        "DELETE FROM answer",
        "UPDATE answer SET total_ms = 0",
        "DELETE FROM settlement",
        "UPDATE settlement SET charged = 0",
        "UPDATE reservation SET most = 0",
        "INSERT INTO settlement (reservation, at, charged, how) VALUES (1, 0, 0, 'settled')",
    ] {
        assert!(other.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn erasing_a_person_leaves_amounts_without_a_name() {
    let home = Home::new();
    let caps = Caps {
        all: Cap {
            day: Some(usd("1").nanos),
            month: None,
        },
        ..Caps::default()
    };
    let ledger = home.open_as(Options {
        caps,
        keep_texts: true,
        ..Options::default()
    });
    for (user, text) in [("annabella", "a text of hers"), ("bruno", "a text of his")] {
        let mut one = row(&format!("req-of-{user}"), Some(user), Route::Cloud, NOON);
        one.prompt = Some(text.into());
        ledger.append(one).wait().unwrap();
        let held = ledger
            .reserve(wanted(&format!("req-of-{user}"), Some(user), "0.4"))
            .wait();
        held.unwrap().settle(usd("0.4")).wait().unwrap();
    }
    let erase = Erase::User {
        user: Some("annabella".into()),
        why: "letter 12".into(),
    };
    let erased = ledger.erase(erase).wait().unwrap();
    assert_eq!(
        (erased.answers, erased.texts, erased.reservations),
        (1, 1, 1)
    );
    assert!(!home.bytes_hold("annabella") && !home.bytes_hold("a text of hers"));
    assert!(home.bytes_hold("bruno") && home.bytes_hold("a text of his"));
    // No room was made under the cap.
    assert_eq!(ledger.budget(None).wait().unwrap().left(), Some(usd("0.2")));
    let summary = home.reader().summary().unwrap();
    assert_eq!((summary.answers, summary.erasures.len()), (1, 1));
    assert_eq!(summary.erasures[0].why, "letter 12");
    let costs = home
        .reader()
        .costs(Span::default(), By::User, &Zone::default())
        .unwrap();
    let names: Vec<&str> = costs.lines.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["(erased)", "bruno"]);
    assert_eq!(costs.total.spent, [usd("0.8")]);
}

#[test]
fn what_is_too_old_goes_and_this_months_money_stays() {
    let home = Home::new();
    let ledger = home.open();
    for days in [0, 20, 30, 31] {
        home.clock.store(NOON + days * DAY, Ordering::Relaxed);
        ledger
            .append(row("r", None, Route::Local, NOON + days * DAY))
            .wait()
            .unwrap();
        ledger
            .reserve(wanted("r", None, "1"))
            .wait()
            .unwrap()
            .settle(usd("1"))
            .wait()
            .unwrap();
    }
    drop(ledger);
    // NOON is on the first of a month with 31 days.
    let ledger = home.open_as(Options {
        keep_days: Some(0),
        ..Options::default()
    });
    ledger.budget(None).wait().unwrap();
    let summary = home.reader().summary().unwrap();
    assert_eq!((summary.answers, summary.reservations), (1, 1));
    assert_eq!(summary.erasures.len(), 1);
    // Nothing is old enough: no row says so.
    drop(ledger);
    drop(home.open_as(Options {
        keep_days: Some(0),
        ..Options::default()
    }));
    assert_eq!(home.reader().summary().unwrap().erasures.len(), 1);
}

#[test]
fn sums_by_day_user_model_and_route() {
    let home = Home::new();
    let ledger = home.open();
    let mut cloud = row("c", Some("anna"), Route::Cloud, NOON);
    cloud.provider_tokens = Some(Tokens {
        input: 90,
        output: 30,
        ..Tokens::default()
    });
    ledger.append(cloud).wait().unwrap();
    let held = ledger
        .reserve(wanted("c", Some("anna"), "1"))
        .wait()
        .unwrap();
    held.settle(usd("0.25")).wait().unwrap();
    ledger
        .append(row("l", None, Route::Local, NOON + DAY))
        .wait()
        .unwrap();
    let mut failed = row("f", None, Route::Local, NOON + DAY);
    failed.outcome = Outcome::Failed;
    ledger.append(failed).wait().unwrap();
    let reader = home.reader();
    let costs = |by| reader.costs(Span::default(), by, &Zone::default()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&costs(By::Day)).unwrap());
    for (by, names) in [
        (By::User, vec!["", "anna"]),
        (By::Model, vec!["cloud-model", "home-model"]),
        (By::Route, vec!["cloud", "local"]),
    ] {
        let costs = costs(by);
        let found: Vec<&str> = costs.lines.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(found, names);
        let spent: i64 = costs
            .lines
            .iter()
            .flat_map(|(_, sums)| &sums.spent)
            .map(|m| m.nanos)
            .sum();
        assert_eq!(spent, usd("0.25").nanos);
    }
    let span = Span {
        since: Some(NOON + 1),
        until: None,
    };
    let later = reader.costs(span, By::Day, &Zone::default()).unwrap();
    assert_eq!((later.total.requests, later.total.spent.len()), (2, 0));
}

#[test]
fn ledger_of_another_time_or_kind() {
    let home = Home::new();
    let message = |home: &Home| {
        let error = Ledger::open(&home.path, Options::default(), home.clock())
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(text.contains("ledger.sqlite"), "{text}");
        error
    };
    // Another program's text, another program's database, one of a later version.
    std::fs::write(
        &home.path,
        "# my notes, which nobody may overwrite\n".repeat(40),
    )
    .unwrap();
    let before = std::fs::read(&home.path).unwrap();
    assert!(matches!(message(&home), LedgerError::Foreign { .. }));
    assert_eq!(std::fs::read(&home.path).unwrap(), before);
    std::fs::remove_file(&home.path).unwrap();
    let other = rusqlite::Connection::open(&home.path).unwrap();
    other
        .execute_batch("CREATE TABLE contacts (name TEXT)")
        .unwrap();
    drop(other);
    assert!(matches!(message(&home), LedgerError::Foreign { .. }));
    std::fs::remove_file(&home.path).unwrap();
    drop(home.open());
    let other = rusqlite::Connection::open(&home.path).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    drop(other);
    assert!(matches!(
        message(&home),
        LedgerError::Newer { found: 99, .. }
    ));
    assert!(matches!(
        Reader::open(&home.path).err(),
        Some(LedgerError::Newer { .. })
    ));
}

#[test]
fn damage_is_told_and_nothing_is_overwritten() {
    let home = Home::new();
    let ledger = home.open();
    for n in 0..200 {
        let last = ledger.append(row(&format!("r{n}"), None, Route::Local, NOON));
        last.wait().unwrap();
    }
    drop(ledger);
    let mut bytes = std::fs::read(&home.path).unwrap();
    let page = 4096;
    assert!(bytes.len() > 20 * page);
    for byte in &mut bytes[5 * page..20 * page] {
        *byte ^= 0xa5;
    }
    std::fs::write(&home.path, &bytes).unwrap();
    let error = Ledger::open(&home.path, Options::default(), home.clock())
        .err()
        .unwrap();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(".recover"), "{error}");
    assert_eq!(std::fs::read(&home.path).unwrap(), bytes);
    // One that was cut short.
    std::fs::write(&home.path, &bytes[..3 * page / 2]).unwrap();
    let error = Ledger::open(&home.path, Options::default(), home.clock())
        .err()
        .unwrap();
    assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
}

#[test]
fn rows_wait_for_a_lock_and_reservations_are_refused() {
    let home = Home::new();
    let ledger = home.open();
    ledger
        .append(row("before", None, Route::Local, NOON))
        .wait()
        .unwrap();
    let other = rusqlite::Connection::open(&home.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let kept = ledger.append(row("meanwhile", None, Route::Local, NOON));
    let refused = ledger.reserve(wanted("r", None, "1")).wait().err().unwrap();
    assert!(matches!(refused, LedgerError::Locked { .. }), "{refused}");
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(kept.wait().unwrap(), 2);
    assert!(ledger.reserve(wanted("r", None, "1")).wait().is_ok());
}

#[test]
fn more_than_can_wait_is_refused_counted_and_told() {
    let home = Home::new();
    let ledger = home.open();
    let door = ledger.door().unwrap();
    let other = rusqlite::Connection::open(&home.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Without a row nothing leaves.
    let event = Event::End {
        status: None,
        up: 0,
        down: 0,
        outcome: "done".into(),
    };
    assert!(door.record(&Passage { id: 1, event }).is_err());
    const ALL: u64 = 17_000;
    let acks: Vec<_> = (0..ALL)
        .map(|n| ledger.append(row(&n.to_string(), None, Route::Local, NOON)))
        .collect();
    other.execute_batch("COMMIT").unwrap();
    let mut lost = 0;
    for ack in acks {
        match ack.wait() {
            Ok(_) => {}
            Err(LedgerError::Busy) => lost += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(lost > 0);
    // The row that tells of them comes with whatever is written next.
    ledger.budget(None).wait().unwrap();
    let summary = home.reader().summary().unwrap();
    assert_eq!((summary.lost, summary.answers), (lost, ALL - lost));
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let ledger = home.open();
    let held = ledger.reserve(wanted("r", None, "1")).wait().unwrap();
    let files = home.files();
    assert!(files.len() >= 4, "{files:?}");
    for name in files {
        let path = home.path.with_file_name(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    drop((held, ledger));
    std::fs::set_permissions(&home.path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(home.open());
    let mode = std::fs::metadata(&home.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_missing_ledger_is_told_and_not_made() {
    let home = Home::new();
    let error = Reader::open(&home.path).err().unwrap();
    assert!(matches!(error, LedgerError::Missing { .. }), "{error}");
    assert!(home.files().is_empty());
}
