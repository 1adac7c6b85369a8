//! Pools: who is asked, who is asked next, who is left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use ingle_gateway::chat::{Message, Request, Role};
use ingle_gateway::provider::{Charged, Dialect, Fault, PoolSettings};

use crate::server::{STOP, Server, answer, delta, end, good, more, stream};
use crate::{World, request, settings, world};

const NAMES: [&str; 3] = ["a", "b", "c"];

fn fleet(servers: &[Server], change: impl FnOnce(&mut PoolSettings)) -> World {
    let all: Vec<_> = servers
        .iter()
        .zip(NAMES)
        .map(|(server, name)| {
            let mut settings = settings(name, Dialect::Vllm, server);
            settings.models[0].prices.output = 0;
            settings
        })
        .collect();
    let names = all.iter().map(|one| format!("{}/m", one.name));
    let mut pool = PoolSettings::new("fleet", names.collect());
    change(&mut pool);
    world(all, vec![pool])
}

fn about(topic: u32) -> Request {
    let text = format!("Tell me about {topic}.");
    Request::new(
        "req_1",
        vec![
            Message::text(Role::System, "Be brief."),
            Message::text(Role::User, text),
        ],
    )
}

#[test]
fn a_conversation_stays_where_it_began() {
    let servers = NAMES.map(|_| Server::new(|_, line| good(line)));
    let world = fleet(&servers, |_| {});
    let mut first = Vec::new();
    for topic in 0..12 {
        let mut request = about(topic);
        let began = world.ask("fleet", &request).unwrap().upstream;
        request
            .messages
            .push(Message::text(Role::Assistant, "Well."));
        request
            .messages
            .push(Message::text(Role::User, "And then?"));
        assert_eq!(world.ask("fleet", &request).unwrap().upstream, began);
        first.push(began);
    }
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 3, "twelve conversations are spread over three");
}

#[test]
fn when_one_fails_the_next_answers_at_once() {
    let servers = [
        Server::new(|_, line| answer(line, "503 Busy", "Retry-After: 30\r\n", "")),
        Server::new(|_, line| answer(line, "401 Unauthorized", "", "")),
        Server::new(|_, line| good(line)),
    ];
    let world = fleet(&servers, |_| {});
    for topic in 0..9 {
        let answered = world.ask("fleet", &about(topic)).unwrap();
        assert_eq!(
            (answered.text().as_str(), answered.upstream.as_str()),
            ("Hello!", "c/m")
        );
    }
    assert!(servers[0].count() + servers[1].count() > 3);
    // After five failures each they were not asked any more.
    assert!(servers[0].count() <= 5 && servers[1].count() <= 5);
    assert_eq!(servers[2].count(), 9);
}

#[test]
fn what_may_have_been_answered_is_not_asked_again_elsewhere() {
    let servers = NAMES.map(|_| Server::new(|_, _| {}));
    let world = fleet(&servers, |_| {});
    let error = world.ask("fleet", &request()).unwrap_err();
    assert_eq!(error.charged, Charged::Unknown);
    assert_eq!(servers.iter().map(Server::count).sum::<usize>(), 1);
    // A refusal is the request's fault: everybody would say it.
    let servers = NAMES.map(|_| Server::new(|_, line| answer(line, "400 No", "", "")));
    let world = fleet(&servers, |_| {});
    assert!(matches!(
        world.ask("fleet", &request()).unwrap_err().fault,
        Fault::Refused { .. }
    ));
    assert_eq!(servers.iter().map(Server::count).sum::<usize>(), 1);
    // All busy: each is asked as often as one would be.
    let servers = NAMES.map(|_| Server::new(|_, line| answer(line, "503 Busy", "", "")));
    let world = fleet(&servers, |_| {});
    let error = world.ask("fleet", &request()).unwrap_err();
    assert_eq!((error.charged, error.tries), (Charged::No, 9));
}

#[test]
fn load_is_spread_where_everybody_says_the_same() {
    let servers = NAMES.map(|_| {
        Server::new(|_, line| {
            stream(line);
            more(line, delta("Hello!"));
            thread::sleep(Duration::from_millis(300));
            more(line, STOP);
            end(line);
        })
    });
    let world = fleet(&servers, |_| {});
    crate::run(async {
        let asks = (0..24).map(|_| async {
            let answer = world
                .providers
                .ask("fleet", &request(), "rule")
                .await
                .unwrap();
            crate::read(answer).await.upstream
        });
        futures_util::future::join_all(asks.collect::<Vec<_>>()).await;
    });
    let counts = servers.each_ref().map(Server::count);
    assert!(counts.iter().all(|n| (3..=11).contains(n)), "{counts:?}");
}

#[test]
fn who_is_ill_is_left_out_until_he_is_well() {
    let well = Arc::new(AtomicBool::new(false));
    let looks = Arc::new(AtomicU32::new(0));
    let server = || {
        let (well, looks) = (well.clone(), looks.clone());
        Server::new(move |asked, line| match asked.path() {
            "/health" => {
                looks.fetch_add(1, Ordering::SeqCst);
                match well.load(Ordering::SeqCst) {
                    true => answer(line, "200 OK", "", "{}"),
                    false => answer(line, "503 Ill", "", ""),
                }
            }
            _ => good(line),
        })
    };
    let servers = [server(), server()];
    let world = fleet(&servers, |pool| {
        pool.check_every = Some(Duration::from_secs(1))
    });
    crate::run(async {
        // Nobody is asked how he is before somebody wants him.
        world.providers.check().await;
        assert_eq!(looks.load(Ordering::SeqCst), 0);
        let answer = world
            .providers
            .ask("fleet", &request(), "rule")
            .await
            .unwrap();
        let first = crate::read(answer).await.upstream;
        for _ in 0..2 {
            world.providers.check().await;
            tokio::time::sleep(Duration::from_millis(1050)).await;
        }
        assert_eq!(
            looks.load(Ordering::SeqCst),
            2,
            "only the one that was used"
        );
        let answer = world
            .providers
            .ask("fleet", &request(), "rule")
            .await
            .unwrap();
        assert_ne!(crate::read(answer).await.upstream, first);
        well.store(true, Ordering::SeqCst);
        world.providers.check().await;
        let answer = world
            .providers
            .ask("fleet", &request(), "rule")
            .await
            .unwrap();
        assert_eq!(crate::read(answer).await.upstream, first);
    });
    let asked = world.rows.0.lock().unwrap();
    let rows = format!("{asked:?}");
    assert!(rows.contains("health check") && rows.contains("pools.fleet"));
}
