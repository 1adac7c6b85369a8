//! `ingle run`: one answer, or a chat.

use super::chat;
use crate::answer::{Answer, Reading, Show, answer};
use crate::config::{Config, Preset};
use crate::environment::Environment;
use crate::interrupt::Interrupt;
use crate::layers::{self, Given};
use crate::line::Line;
use crate::load::{LoadArgs, Loaded, load};
use crate::own_server::OwnServer;
use crate::sampling_args::{SamplingArgs, new_seed, to_json};
use crate::stdin::Piped;
use crate::through::{Route, Through};
use crate::{Command, Usage, clock, model_file, network, out, reads, through};
use ingle::formats::prompt::Prompt;
use ingle::{Chat, FinishReason, Request, Sampling};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Instant;

/// A chat with a model, or one answer where PROMPT is given or standard input is a pipe
///
/// What comes through a pipe is put behind PROMPT, or is the prompt. With no MODEL the small model
/// that is built in answers. In a chat, /help shows what can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file or the name of a model, as qwen3:4b or hf.co/ORG/REPO:QUANT [default: the
    /// built-in model]
    model: Option<String>,
    /// What to answer, or with --raw what to continue
    prompt: Option<String>,
    /// Use no chat template: continue the prompt as it stands, an empty one from the beginning token
    #[arg(long, help_heading = "Answer")]
    raw: bool,
    /// What the model is told before anything else
    #[arg(
        long,
        value_name = "TEXT",
        help_heading = "Answer",
        conflicts_with = "raw"
    )]
    system: Option<String>,
    /// Stop after N tokens [default: when the model ends its answer or the context is full]
    #[arg(short = 'n', long, value_name = "N", help_heading = "Answer", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// A text at which the answer stops, and which is not part of it; repeat the flag for more
    #[arg(long, value_name = "TEXT", help_heading = "Answer")]
    stop: Vec<String>,
    /// Let the model reason before it answers, where its template has that switch
    #[arg(long, help_heading = "Answer", conflicts_with = "no_think")]
    think: bool,
    /// Do not let it
    #[arg(long, help_heading = "Answer")]
    no_think: bool,
    /// After the answer, say what was read from disk for it, and how long was waited for that; --json always
    /// has it
    #[arg(long, help_heading = "Answer")]
    stats: bool,
    /// Where the answer is to come from, as ingle.toml lets it ([route], [policy]); says afterwards where it
    /// came from, and why
    #[arg(long, value_name = "WHERE", help_heading = "Answer", conflicts_with_all = ["raw", "json", "think", "no_think", "stats"])]
    route: Option<Route>,
    /// Load the model although a server of yours that runs has it in memory
    #[arg(long, help_heading = "Answer")]
    no_server: bool,
    /// Print one JSON object when the answer is complete
    #[arg(long, help_heading = "Answer")]
    json: bool,
    /// With --json: log-probabilities of the answer's tokens and of the N most probable ones
    #[arg(long, value_name = "N", help_heading = "Answer", requires = "json")]
    logprobs: Option<u32>,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    load: LoadArgs,
}

impl Args {
    /// The preset that MODEL names, if it names one.
    pub fn preset<'a>(&self, config: &'a Config) -> Option<&'a Preset> {
        config.preset(self.model.as_deref()?)
    }
}

/// [`run`] with a preset's settings below what was typed.
///
/// # Errors
/// As there.
pub fn run_preset(line: &Line, preset: &Preset) -> anyhow::Result<()> {
    // How a preset samples is how its model does; what was asked for besides is said to a provider too.
    let (_, asked) = line.parse(None);
    let (ingle, given) = line.parse(Some(preset));
    let house = (line.config(), ingle.offline);
    match ingle.command {
        Command::Run(args) => run(&args, &given, Some((preset, &asked)), house),
        _ => Ok(()), // the same line is the same command
    }
}

pub fn run(
    args: &Args,
    given: &Given,
    preset: Option<(&Preset, &Given)>,
    house: (&Config, bool),
) -> anyhow::Result<()> {
    let (model, prompt) = match preset {
        Some((preset, _)) => (preset.base.as_deref(), args.prompt.as_deref()),
        None => model_and_prompt(args)?,
    };
    let piped = Piped::begin();
    if piped.is_none() && prompt.is_none() && args.json {
        return Err(Usage("--json is for one answer; give a PROMPT".into()).into());
    }
    let mut session = Session::new(args, given)?;
    if let Some((_, asked)) = preset {
        session.said = asked.ids().map(str::to_owned).collect();
    }
    let one = piped.is_some() || prompt.is_some();
    let text = |piped: Option<Piped>| match piped {
        Some(piped) => Ok(Some(joined(prompt, &piped.text(prompt.is_some())?))),
        None => anyhow::Ok(prompt.map(str::to_owned)),
    };
    let template = preset.and_then(|(preset, _)| preset.template.clone());
    let loads = args.load.clone().with_template(template);
    match way(args, given, model, one, preset.is_some(), house) {
        Way::Here => {}
        Way::Found(through) => return served(&through, session, text(piped)?),
        Way::Own(route, config, offline) => {
            let usual = match preset.map(|(preset, _)| Line::of_preset(preset).command) {
                Some(Command::Run(alone)) => alone.sampling.sampling(None),
                _ => SamplingArgs::usual(),
            };
            let text = text(piped)?;
            let server = OwnServer::start(model, &loads, &usual, config, offline)?;
            return served(&server.through(route), session, text);
        }
    }
    let mut loaded = load(model, &loads)?;
    session.settle(&loaded, given);
    let text = text(piped)?;
    if prompt.is_none() && text.as_deref() == Some("") && !session.raw {
        let message = "standard input is empty and there is no PROMPT; give one of them";
        return Err(Usage(message.into()).into());
    }
    let interrupt = Interrupt::listen()?;
    match text {
        Some(prompt) => one_answer(&session, &mut loaded, &prompt, args, &interrupt),
        None => chat::chat(session, chat::Voice::Here(&mut loaded), &interrupt),
    }
}

/// Who answers.
enum Way<'a> {
    /// A model that is loaded here.
    Here,
    /// A server of this user that has it in memory.
    Found(Through),
    /// A server of this process, which may ask a provider: by these settings, and offline or not.
    Own(Route, &'a Config, bool),
}

fn way<'a>(
    args: &Args,
    given: &Given,
    model: Option<&str>,
    one: bool,
    preset: bool,
    (config, offline): (&'a Config, bool),
) -> Way<'a> {
    // Offline here says nothing to a server that is not.
    let shut =
        args.route.is_some() && network::offline(&Environment::of_process(), offline).is_some();
    // A server may know another preset by that name.
    let own = args.no_server || shut || preset || !(one || args.route.is_some());
    let found = match own {
        true => None,
        false => through::find(model, given, args.route),
    };
    match (found, args.route) {
        (Some(through), _) => Way::Found(through),
        (None, Some(route)) => Way::Own(route, config, offline),
        (None, None) => Way::Here,
    }
}

/// One answer of a server, or a chat with it.
fn served(through: &Through, session: Session, text: Option<String>) -> anyhow::Result<()> {
    if text.as_ref().is_some_and(String::is_empty) {
        return Err(Usage("there is no text to answer; give a PROMPT".into()).into());
    }
    let interrupt = Interrupt::listen()?;
    match text {
        Some(text) => through.one(&session, text, &interrupt),
        None => {
            through.introduce();
            chat::chat(session, chat::Voice::Server(through), &interrupt)
        }
    }
}

/// MODEL and PROMPT, of which either may be absent.
fn model_and_prompt(args: &Args) -> Result<(Option<&str>, Option<&str>), Usage> {
    match (args.model.as_deref(), args.prompt.as_deref()) {
        (Some(model), prompt) if model_file::is_model(model) => Ok((Some(model), prompt)),
        (prompt, None) => Ok((None, prompt)),
        (first, Some(_)) => Err(Usage(format!(
            "`{}` is not a model; give the path of a .gguf file or a name as qwen3:4b, or put the whole prompt in quotation marks",
            out::plain(first.unwrap_or_default())
        ))),
    }
}

/// A prompt and what came through a pipe.
fn joined(prompt: Option<&str>, piped: &str) -> String {
    match prompt {
        None => piped.to_owned(),
        Some(prompt) if piped.is_empty() => prompt.to_owned(),
        Some(prompt) => format!("{prompt}\n\n{piped}"),
    }
}

/// What stays the same from answer to answer, until somebody changes it.
pub struct Session {
    pub sampling: Sampling,
    /// Every answer gets a seed of its own.
    pub new_seeds: bool,
    pub system: Option<String>,
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    /// `enable_thinking` of the template.
    pub think: Option<bool>,
    /// No template.
    pub raw: bool,
    /// Flags that somebody set, by clap's names.
    pub said: BTreeSet<String>,
}

impl Session {
    fn new(args: &Args, given: &Given) -> anyhow::Result<Self> {
        let sampling = args.sampling.sampling(args.logprobs);
        // Before minutes of loading, not after.
        sampling.validate().map_err(|e| Usage(e.to_string()))?;
        let think = match (args.think, args.no_think) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        Ok(Self {
            sampling,
            new_seeds: !args.sampling.has_seed(),
            system: args.system.clone(),
            max_tokens: args.max_tokens,
            stop: args.stop.clone(),
            think,
            raw: args.raw,
            said: given.ids().map(str::to_owned).collect(),
        })
    }

    /// What lies with the model, where no flag says otherwise; and without a template there is only the
    /// text itself.
    fn settle(&mut self, loaded: &Loaded, given: &Given) {
        if let Some(layers) = &loaded.layers
            && let Some(note) = layers::apply(layers, given, self)
        {
            out::note(out::plain(&note));
        }
        if !self.raw && !loaded.model.has_template() {
            out::note("note: this model has no chat template; the text is continued as it stands");
            if self.system.take().is_some() {
                out::note(
                    "warning: --system has no effect without a chat template; put it into the prompt",
                );
            }
            self.raw = true;
        }
    }

    /// The conversation as the template will see it.
    pub fn conversation(&self) -> Chat {
        let mut chat = Chat::new();
        if let Some(system) = &self.system {
            chat = chat.message("system", system);
        }
        match self.think {
            Some(think) => chat.variable("enable_thinking", think),
            None => chat,
        }
    }

    /// A text to continue, without a template.
    pub fn raw_prompt(loaded: &Loaded, text: String) -> Prompt {
        Prompt {
            tokens: loaded.model.encode(&text),
            text,
        }
    }

    /// Computes the answer to a prompt, which is that of a chat unless the session is raw.
    pub fn answer(
        &self,
        loaded: &mut Loaded,
        prompt: Prompt,
        show: Show,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Answer> {
        let reading = match self.raw {
            true => Reading::Raw,
            false => Reading::Chat(&prompt.text),
        };
        let request = Request {
            max_tokens: self.max_tokens,
            sampling: self.sampling.clone(),
            stop: self.stop.clone(),
            ..Request::new(prompt.tokens)
        };
        answer(&mut loaded.model, request, reading, show, interrupt)
    }

    /// A seed for the next answer.
    pub fn reseed(&mut self) {
        if self.new_seeds {
            self.sampling.seed = new_seed();
        }
    }
}

fn one_answer(
    session: &Session,
    loaded: &mut Loaded,
    prompt: &str,
    args: &Args,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let prompt = match session.raw {
        true => Session::raw_prompt(loaded, prompt.to_owned()),
        false => {
            let chat = session.conversation().message("user", prompt);
            loaded.model.chat(&chat, clock::now())?
        }
    };
    let show = if args.json {
        Show::Nothing
    } else {
        Show::Stream
    };
    let (begun, start) = (reads::now(loaded.model.engine()), Instant::now());
    let answer = session.answer(loaded, prompt, show, interrupt)?;
    let reads = reads::between(begun, loaded.model.engine(), start.elapsed());
    let tokens = f64::from((answer.prompt_tokens + answer.generated_tokens).max(1));
    if args.json {
        let mut object = answer.to_json(loaded.model.vocabulary());
        object["timings"]["load_s"] = loaded.load_time.as_secs_f64().into();
        object["model"] = json!({
            "name": loaded.name, "context": loaded.model.plan().context,
            "threads": loaded.threads, "isa": loaded.isa, "quant": loaded.quant,
            "active_experts": loaded.active_experts,
        });
        if let Some(reads) = reads {
            object["stream"] = reads.json(tokens);
        }
        object["parameters"] = to_json(&session.sampling);
        object["parameters"]["max_tokens"] = session.max_tokens.into();
        object["parameters"]["stop"] = session.stop.clone().into();
        object["parameters"]["raw"] = session.raw.into();
        out::json(&object)?;
    } else {
        out::note(answer.summary());
        if args.stats {
            out::note(match reads {
                Some(reads) => format!("[{}]", reads.line(tokens)),
                None => "[all weights are in memory]".to_owned(),
            });
        }
    }
    outcome(&answer, session.max_tokens.is_some(), loaded)
}

/// Notes on how the answer ended, and an error where it did not end well.
fn outcome(answer: &Answer, limited: bool, loaded: &Loaded) -> anyhow::Result<()> {
    match &answer.reason {
        FinishReason::Unreadable(why) | FinishReason::Failed(why) => anyhow::bail!("{why}"),
        FinishReason::Cancelled => anyhow::bail!("stopped before the answer was complete"),
        FinishReason::Length if !limited => {
            out::note(full(loaded));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What to do about a full context.
pub fn full(loaded: &Loaded) -> String {
    let context = loaded.model.plan().context;
    format!(
        "note: the answer stops here because the context of {context} tokens is full; --ctx N makes it larger"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: Args,
    }

    fn parse(line: &[&str]) -> Args {
        Line::try_parse_from([&["x"], line].concat())
            .map(|l| l.run)
            .unwrap_or_else(|e| panic!("{e}"))
    }

    fn session(line: &[&str]) -> anyhow::Result<Session> {
        Session::new(&parse(line), &Given::default())
    }

    #[test]
    fn the_model_may_be_absent() {
        let split = |line: &[&str]| {
            let args = parse(line);
            let (model, prompt) = model_and_prompt(&args).map_err(|e| e.to_string())?;
            Ok::<_, String>((model.map(str::to_owned), prompt.map(str::to_owned)))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split(&[]), Ok((None, None)));
        assert_eq!(
            split(&["Tell me a story"]),
            Ok((None, some("Tell me a story")))
        );
        assert_eq!(split(&["m/a.gguf"]), Ok((some("m/a.gguf"), None)));
        assert_eq!(split(&["a.gguf", ""]), Ok((some("a.gguf"), some(""))));
        assert!(
            split(&["Tell", "me"])
                .unwrap_err()
                .contains("quotation marks")
        );
    }

    #[test]
    fn a_pipe_comes_behind_the_prompt() {
        assert_eq!(joined(None, "text"), "text");
        assert_eq!(joined(Some("Sum up:"), "text"), "Sum up:\n\ntext");
        assert_eq!(joined(Some(""), ""), "");
    }

    #[test]
    fn wrong_sampling_is_refused_before_loading() {
        let refused = session(&["x", "--top-p", "2"]).err().unwrap();
        assert!(refused.is::<Usage>());
        assert_eq!(refused.to_string(), "`top_p` is 2; it must be from 0 to 1");
    }

    #[test]
    fn thinking_is_a_switch_of_the_template() {
        assert_eq!(session(&["--think"]).unwrap().think, Some(true));
        assert_eq!(session(&["--no-think"]).unwrap().think, Some(false));
        assert_eq!(session(&[]).unwrap().think, None);
    }
}
