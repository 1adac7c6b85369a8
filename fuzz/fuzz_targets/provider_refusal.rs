//! Whatever a provider says with its no is told on one short line, without the key.
#![no_main]

use ingle_gateway::ledger::{Currency, Prices};
use ingle_gateway::provider::{
    Dialect, Key, Provider, ProviderSettings, RemoteModel, Secret, Thinking, refusal,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const KEY: &str = "sk-0aZ9bY8cX7dW6eV5f";

static PROVIDER: LazyLock<Provider> = LazyLock::new(|| {
    let mut settings = ProviderSettings::new("p", Dialect::OpenAi, "https://cloud.example");
    settings.key = Key::Given(Secret::new(KEY));
    settings.models = vec![RemoteModel {
        name: "m".into(),
        context: 1000,
        max_output: 100,
        usual_output: 100,
        tools: false,
        images: false,
        image_tokens: 0,
        thinking: Thinking::No,
        prices: Prices {
            currency: Currency::USD,
            input: 1,
            cached_input: 1,
            cache_write: 1,
            output: 1,
            dated: "2026-11-01".into(),
        },
    }];
    Provider::new(settings).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let Some((status, body)) = data.split_first() else {
        return;
    };
    let status = 400 + 2 * u16::from(*status);
    // `~` stands for the key: it would not be found by chance.
    let mut told = Vec::new();
    for byte in body {
        match byte {
            b'~' => told.extend_from_slice(KEY.as_bytes()),
            byte => told.push(*byte),
        }
    }
    let fault = refusal(status, &told, &PROVIDER);
    let text = fault.to_string();
    assert!(!text.is_empty() && text.len() < 8192);
    assert!(!text.chars().any(char::is_control), "{text:?}");
    for part in KEY.as_bytes().windows(8) {
        assert!(!text.contains(std::str::from_utf8(part).unwrap()), "{text}");
    }
});
