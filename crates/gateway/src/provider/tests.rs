//! Configurations, targets and what is written.

use super::*;
use crate::chat::{Message, Request, Role};
use crate::ledger::{Currency, Prices};

/// A model that can everything and costs a dollar a million tokens.
pub(super) fn model(name: &str) -> RemoteModel {
    let dollar = 1_000_000_000;
    RemoteModel {
        name: name.to_owned(),
        context: 100_000,
        max_output: 8000,
        usual_output: 4000,
        tools: true,
        images: true,
        image_tokens: 2000,
        thinking: Thinking::Effort,
        prices: Prices {
            currency: Currency::USD,
            input: dollar,
            cached_input: dollar / 10,
            cache_write: dollar * 5 / 4,
            output: 4 * dollar,
            dated: "2026-11-01".to_owned(),
        },
    }
}

fn settings(dialect: Dialect, url: &str) -> ProviderSettings {
    let mut settings = ProviderSettings::new("p", dialect, url);
    settings.models = vec![model("m")];
    settings
}

#[test]
fn where_a_provider_is_asked() {
    for (dialect, base, chat, health) in [
        (
            Dialect::OpenAi,
            "https://api.cloud.example/v1",
            "https://api.cloud.example/v1/chat/completions",
            "https://api.cloud.example/v1/models",
        ),
        (
            Dialect::OpenAi,
            "https://api.cloud.example",
            "https://api.cloud.example/v1/chat/completions",
            "https://api.cloud.example/v1/models",
        ),
        (
            Dialect::OpenAi,
            "https://api.cloud.example/compat/v3/",
            "https://api.cloud.example/compat/v3/chat/completions",
            "https://api.cloud.example/compat/v3/models",
        ),
        (
            Dialect::Anthropic,
            "https://api.cloud.example",
            "https://api.cloud.example/v1/messages",
            "https://api.cloud.example/v1/models",
        ),
        (
            Dialect::Anthropic,
            "https://api.cloud.example/claude/v1",
            "https://api.cloud.example/claude/v1/messages",
            "https://api.cloud.example/claude/v1/models",
        ),
        (
            Dialect::Vllm,
            "http://10.0.0.5:8000/v1",
            "http://10.0.0.5:8000/v1/chat/completions",
            "http://10.0.0.5:8000/health",
        ),
        (
            Dialect::Ingle,
            "http://127.0.0.1:11435",
            "http://127.0.0.1:11435/v1/chat/completions",
            "http://127.0.0.1:11435/health",
        ),
    ] {
        let provider = Provider::new(settings(dialect, base)).unwrap();
        assert_eq!(provider.chat_url().as_str(), chat);
        assert_eq!(provider.health_url().as_str(), health);
    }
}

#[test]
fn what_cannot_be_is_told() {
    let wrong = |change: &dyn Fn(&mut ProviderSettings)| {
        let mut settings = settings(Dialect::OpenAi, "https://cloud.example/v1");
        change(&mut settings);
        Provider::new(settings).unwrap_err().to_string()
    };
    let errors = [
        wrong(&|s| s.name = "a b".into()),
        wrong(&|s| s.base_url = "ftp://cloud.example".into()),
        wrong(&|s| s.base_url = "https://me:secret@cloud.example".into()),
        wrong(&|s| s.base_url = "http://cloud.example/v1".into()),
        wrong(&|s| s.base_url = "https://cloud.example/v1?x=1".into()),
        wrong(&|s| s.base_url = "https://cloud.example/v1/chat/completions".into()),
        wrong(&|s| {
            s.base_url = "http://10.0.0.5/v1".into();
            s.key = Key::Given(Secret::new("sk-secret"));
        }),
        wrong(&|s| s.key = Key::Given(Secret::new("sk secret"))),
        wrong(&|s| s.prompt_cache = true),
        wrong(&|s| s.concurrent = 0),
        wrong(&|s| s.timeouts.first = std::time::Duration::ZERO),
        wrong(&|s| s.retries.times = 11),
        wrong(&|s| s.models.clear()),
        wrong(&|s| s.models.push(model("m"))),
        wrong(&|s| s.models = vec![model("a b")]),
        wrong(&|s| s.models[0].max_output = 200_000),
        wrong(&|s| s.models[0].usual_output = 0),
        wrong(&|s| s.models[0].prices.output = -1),
        wrong(&|s| s.models[0].prices.dated.clear()),
    ];
    let all = errors.join("\n");
    assert!(!all.contains("secret"), "{all}");
    insta::assert_snapshot!(all);
}

#[test]
fn a_key_is_not_shown() {
    let mut settings = settings(Dialect::Anthropic, "https://cloud.example");
    settings.key = Key::Given(Secret::new("sk-secret"));
    let shown = format!("{:?}", Provider::new(settings).unwrap());
    assert!(!shown.contains("sk-secret"), "{shown}");
}

fn request(bytes: usize) -> Request {
    Request::new("q", vec![Message::text(Role::User, "x".repeat(bytes))])
}

#[test]
fn a_request_has_a_most() {
    let providers = [Provider::new(settings(Dialect::OpenAi, "https://cloud.example")).unwrap()];
    let targets = target::targets(&providers, Vec::new()).unwrap();
    let target = &targets["p/m"];
    assert_eq!(target.most_output(&request(1)), 4000);
    let asked = |n| Request {
        max_tokens: Some(n),
        ..request(1)
    };
    assert_eq!(target.most_output(&asked(5000)), 5000);
    assert_eq!(target.most_output(&asked(u32::MAX)), 8000);
    assert_eq!(target.most_output(&asked(0)), 1);
    let input = target.most_input(&request(10_000));
    assert!((11_000..12_000).contains(&input), "{input}");
    assert_eq!(target.most_input(&request(1_000_000)), 100_000);
    // At the dearest price of a prompt's token.
    let most = target.most_cost(&request(1_000_000));
    assert_eq!(most.to_string(), "0.141 USD");
    assert!(target.can(&request(700_000)).is_ok());
    assert!(matches!(
        target.can(&request(800_000)),
        Err(Misfit::Context { .. })
    ));
}

#[test]
fn a_pool_can_what_all_can_and_costs_what_the_dearest_costs() {
    let provider = |name: &str, change: &dyn Fn(&mut RemoteModel)| {
        let mut settings = settings(Dialect::Vllm, "http://127.0.0.1:1");
        settings.name = name.into();
        change(&mut settings.models[0]);
        Provider::new(settings).unwrap()
    };
    let providers = [
        provider("a", &|m| m.context = 50_000),
        provider("b", &|m| {
            (m.images, m.prices.output, m.prices.dated) = (false, 9, "2026-10-01".into());
        }),
        provider("c", &|m| m.prices.currency = "EUR".parse().unwrap()),
    ];
    let pool = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        target::targets(&providers, vec![PoolSettings::new("fleet", names)])
    };
    let fleet = &pool(&["a/m", "b/m", "a/m"]).unwrap()["fleet"];
    assert!(fleet.is_pool() && fleet.upstreams.len() == 2);
    assert_eq!(fleet.model().context, 50_000);
    assert!(!fleet.model().images && fleet.model().tools);
    assert_eq!(fleet.prices().output, 4_000_000_000);
    assert_eq!(fleet.prices().dated, "2026-10-01");
    for (names, key) in [
        (&["a/m", "c/m"][..], "upstreams"),
        (&["a/x"], "upstreams"),
        (&["fleet"], "upstreams"),
        (&[], "upstreams"),
    ] {
        assert_eq!(pool(names).unwrap_err().key, key);
    }
}
