//! `POST /completion` and `POST /infill`, as they are answered.

use super::reply::{Reply, Settings};
use super::request::{CompletionRequest, RANDOM_SEED};
use crate::body::{Body, json};
use crate::call::Call;
use crate::error::ApiError;
use crate::stream::{COMMENT, pieces};
use crate::talk::{Input, Names, Wanted, ask};
use http::Response;
use std::sync::Arc;
use std::time::Duration;

const NAMES: Names = Names {
    input: "prompt",
    suffix: "input_suffix",
    tools: "tools",
    tool_choice: "tool_choice",
    form: "grammar",
    effort: "prompt",
    budget: "prompt",
    max_tokens: "n_predict",
    stop: "stop",
};

/// Answers a request that `read` understands.
pub(super) async fn answer(
    call: Arc<Call>,
    read: fn(&[u8]) -> Result<CompletionRequest, ApiError>,
) -> Result<Response<Body>, ApiError> {
    let read = move |call: &Call| read(&call.body).map(wanted);
    let (answers, settings) = ask(&call, &NAMES, read).await?;
    let (stream, ping) = (settings.stream, settings.shape.ping);
    let reply = Reply::new(answers, settings);
    match stream {
        true => {
            let (beat, silence) = (ping.map(|_| COMMENT), ping.unwrap_or(Duration::MAX));
            Ok(pieces("text/event-stream", beat, silence, reply))
        }
        false => reply.whole().await.map(|value| json(&value)),
    }
}

/// The same in no dialect's words.
fn wanted(request: CompletionRequest) -> (Wanted, Settings) {
    let mut sampling = request.sampling.clone();
    if !request.seeded {
        sampling.seed = RANDOM_SEED;
    }
    let settings = Settings {
        sampling,
        max_tokens: match request.prompt_alone {
            true => Some(0),
            false => request.max_tokens,
        },
        stop: request.stop.clone(),
        several: request.several,
        stream: request.stream,
        shape: request.shape,
    };
    let wanted = Wanted {
        model: request.model,
        form: request.form,
        sampling: request.sampling,
        seeded: request.seeded,
        stop: request.stop,
        max_tokens: request.max_tokens,
        prompt_alone: request.prompt_alone,
        n: request.n,
        ends_with_context: true,
        ..Wanted::new(Input::Texts(request.prompts))
    };
    (wanted, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_nobody_gave_is_not_told_as_one() {
        let told = |body: &str| {
            let request = CompletionRequest::parse(body.as_bytes()).unwrap();
            let (wanted, settings) = wanted(request);
            (wanted.seeded, settings.sampling.seed)
        };
        assert_eq!(told(r#"{"prompt": "a"}"#), (false, RANDOM_SEED));
        let random = told(r#"{"prompt": "a", "seed": -1}"#);
        assert_eq!(random, (false, RANDOM_SEED));
        assert_eq!(told(r#"{"prompt": "a", "seed": 0}"#), (true, 0));
    }
}
