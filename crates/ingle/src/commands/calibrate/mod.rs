//! `ingle calibrate`: learn from known outcomes how likely a model's answers are right.

mod aim;
mod data;

use crate::environment::Environment;
use crate::line::Line;
use crate::load::{Company, LoadArgs, Loaded, load_for};
use crate::{Usage, clock, out};
use aim::{AimArgs, Wanted};
use anyhow::Context;
use data::Question;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingle::gateway::confidence::calibration::Staged;
use ingle::gateway::confidence::fit::{self, Example};
use ingle::gateway::confidence::judge::Answered;
use ingle::gateway::confidence::measure::{Interval, Judged};
use ingle::gateway::confidence::report::{self, Compared, Figures};
use ingle::gateway::confidence::{
    Asked, Calibration, Judge, Outcomes, Stage, Threshold, chart, measure, split,
};
use ingle::trial::{Tried, run as ask};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Learn how likely a model's answers are right
///
/// FILE has a line of JSON for each question: {"prompt": ..., "answers": [texts that are right]}, or for
/// an answer that was given {"prompt": ..., "answer": ..., "right": true}. Further keys: "messages" in the
/// place of "prompt", "choices" or "schema" (what the answer must be), "max_tokens", "text" (the part of
/// the prompt by which copies are known), "group" (a part of the questions that --report shows by itself). Without FILE and --feedback: what has been learned so far.
/// What is learned is used by `ingle serve` for this very model and task.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Questions whose answers are known, or - for standard input
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Learn from what people said of answers (POST /v1/feedback)
    #[arg(long, conflicts_with = "data")]
    feedback: bool,
    /// The task: outcomes of one say nothing of another
    #[arg(long, value_name = "NAME", default_value = "general")]
    task: String,
    /// The model [default: the one that is built in]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Ask so many more times and learn from how many agree; every answer is then asked for as often
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    samples: u32,
    /// Say in full what it is worth, and store nothing
    #[arg(long)]
    report: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    aim: AimArgs,
    #[command(flatten)]
    load: LoadArgs,
}

/// The rows of all answers, by stage, and what else a report shows.
struct Rows {
    stages: Vec<(Stage, Vec<Example>)>,
    /// The mean probability of a token, and what was right.
    raw: Vec<Judged>,
    /// Of which text each is.
    keys: Vec<u32>,
    /// To which part of the questions each belongs, where a line says so.
    groups: Vec<String>,
}

pub fn run(args: &Args, line: &Line) -> anyhow::Result<()> {
    let wanted = Wanted::of(&args.aim, &line.config().route)?;
    let name = |e: ingle::gateway::confidence::StoreError| Usage(e.to_string());
    ingle::gateway::confidence::check_task(&args.task).map_err(name)?;
    let environment = Environment::of_process();
    let folder = environment.calibrations_folder();
    let folder = folder.context("there is no home folder to keep calibrations in; set HOME")?;
    let (mut judge, faults) = Judge::open(&folder)?;
    for fault in faults {
        out::note(format!("warning: {fault}"));
    }
    if args.data.is_none() && !args.feedback {
        return list(args, &judge, &wanted);
    }
    let questions = args.data.as_deref().map(data::read).transpose()?;
    let mut loaded = load_for(args.model.as_deref(), &args.load, Company::Several(None))?;
    let identity = loaded.identity.clone();
    let rows = match &questions {
        Some(questions) => {
            let tried = try_all(&mut loaded, questions, args.samples)?;
            rows(&judge, questions, &tried)
        }
        None => judged(args, &environment, &identity)?,
    };
    if args.report {
        return full_report(args, &rows, &wanted);
    }
    // What was learned before stays where nothing is.
    let learned = rows.stages.iter().any(|(_, all)| !all.is_empty());
    anyhow::ensure!(learned, "nothing was learned");
    let whole = rows.stages.last().map(|(_, all)| fit::recall(all));
    let stages = rows.stages.iter().filter(|(_, all)| !all.is_empty());
    let stages = stages.map(|(stage, all)| fit::fit(*stage, all));
    let calibration = Calibration {
        model: identity,
        task: args.task.clone(),
        made: u64::try_from(clock::unix()).unwrap_or_default(),
        samples: if questions.is_some() { args.samples } else { 0 },
        recall: whole.unwrap_or_default(),
        stages: stages.collect::<Result<_, _>>()?,
    };
    let path = judge.put(calibration.clone())?;
    out::note(format!("Stored in {}.", path.display()));
    summary(args, &loaded.name, &calibration, &wanted)
}

/// Asks all questions.
fn try_all(
    loaded: &mut Loaded,
    questions: &[Question],
    samples: u32,
) -> anyhow::Result<Vec<Option<Tried>>> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} answers, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let trials: Vec<_> = questions.iter().map(|q| q.trial.clone()).collect();
    let tried = ask(
        &mut loaded.model,
        &trials,
        samples,
        clock::now(),
        &mut |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        },
    );
    bar.finish_and_clear();
    let tried = tried?;
    let missing = tried.iter().filter(|t| t.is_none()).count();
    if missing > 0 {
        out::note(format!(
            "{missing} of {} questions do not fit the model's context, and are left out.",
            tried.len()
        ));
    }
    Ok(tried)
}

fn rows(judge: &Judge, questions: &[Question], tried: &[Option<Tried>]) -> Rows {
    let mut stages: Vec<(Stage, Vec<Example>)> = Stage::ALL.map(|s| (s, Vec::new())).to_vec();
    let (mut raw, mut keys, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for (question, tried) in questions.iter().zip(tried) {
        let Some(tried) = tried else { continue };
        let asked = Asked::new(&question.prompt);
        let right = question.is_right(&tried.text);
        let key = split::part(&question.text, "", u32::MAX);
        let prefix = Answered {
            signals: &tried.prefix,
            text: &tried.prefix_text,
            choices: &question.choices,
            agreement: None,
        };
        let after = Answered {
            signals: &tried.signals,
            text: &tried.text,
            choices: &question.choices,
            agreement: tried.agreement,
        };
        for (stage, all) in &mut stages {
            let answer = if *stage == Stage::Prefix {
                &prefix
            } else {
                &after
            };
            let features = judge.features(&asked, answer);
            let lesson = features.lesson(question.right(&tried.text));
            all.extend(features.row(*stage).map(|row| Example {
                row,
                right,
                key,
                lesson: Some(lesson),
            }));
        }
        let probability = judge.features(&asked, &after).raw();
        raw.push(Judged { probability, right });
        keys.push(key);
        groups.push(question.group.clone().unwrap_or_default());
    }
    // Questions that no line puts anywhere are not cut into parts.
    if groups.iter().all(String::is_empty) {
        groups.clear();
    }
    Rows {
        stages,
        raw,
        keys,
        groups,
    }
}

/// What people said of answers.
fn judged(args: &Args, environment: &Environment, identity: &str) -> anyhow::Result<Rows> {
    let path = environment.outcomes_file();
    let path = path.filter(|path| path.exists());
    let path = path.context("no outcomes have been kept yet: `ingle serve` keeps them, and POST /v1/feedback judges them")?;
    let outcomes = Outcomes::open(&path)?;
    let mut stages = Vec::new();
    for stage in Stage::ALL {
        stages.push((stage, outcomes.examples(identity, &args.task, stage)?));
    }
    let none = stages.iter().all(|(_, all)| all.is_empty());
    let task = &args.task;
    anyhow::ensure!(
        !none,
        "no answer of this model at the task `{task}` has been judged; judge some by POST /v1/feedback, or give --data"
    );
    let whole = stages.last();
    let keys = whole.map(|(_, all)| all.iter().map(|e| e.key).collect());
    Ok(Rows {
        stages,
        raw: Vec::new(),
        keys: keys.unwrap_or_default(),
        groups: Vec::new(),
    })
}

fn full_report(args: &Args, rows: &Rows, wanted: &Wanted) -> anyhow::Result<()> {
    let held_out = |wanted: Stage| {
        let found = rows.stages.iter().find(|(stage, _)| *stage == wanted);
        found.map_or_else(Vec::new, |(stage, all)| fit::held_out(*stage, all))
    };
    let compared = Compared {
        after: held_out(Stage::After),
        prefix: held_out(Stage::Prefix),
        before: held_out(Stage::Before),
        raw: rows.raw.clone(),
        keys: rows.keys.clone(),
        groups: rows.groups.clone(),
    };
    if !args.json {
        return out::answer(&report::text(&args.task, &compared, wanted.price));
    }
    let mut object = report_json(&compared);
    object["task"] = args.task.clone().into();
    for name in compared.names() {
        object["groups"][name] = report_json(&compared.of(name));
    }
    out::json(&object)
}

fn report_json(compared: &Compared) -> Value {
    let figures = |all: &[Judged]| figures_json(&Figures::of(all, &compared.keys));
    json!({
        "after": figures(&compared.after), "prefix": figures(&compared.prefix),
        "before": figures(&compared.before), "raw": figures(&compared.raw),
    })
}

fn figures_json(f: &Figures) -> Value {
    let range = |i: &Interval| json!([i.low, i.high]);
    json!({
        "n": f.n, "accuracy": f.accuracy, "auroc": f.auroc.value, "auroc_interval": range(&f.auroc),
        "captured_at_20_percent": f.captured.value, "captured_interval": range(&f.captured),
        "captured_at_random": f.captured_at_random, "ece": f.ece.value, "ece_interval": range(&f.ece),
        "ece_by_chance": f.ece_of_chance, "brier": f.brier.value, "brier_of_base_rate": f.brier_of_base,
        "better_than_base_rate": f.skill.value, "better_interval": range(&f.skill),
    })
}

fn summary(
    args: &Args,
    model: &str,
    calibration: &Calibration,
    wanted: &Wanted,
) -> anyhow::Result<()> {
    let whole = calibration
        .stage(Stage::After)
        .or(calibration.stages.first());
    let whole = whole.context("nothing was learned")?;
    let all = whole.judged();
    if args.json {
        return out::json(&one_json(calibration, wanted));
    }
    let (error, low, high) = whole.error;
    let mut text = format!(
        "{} at the task {}: {} outcomes, {:.1}% right\n",
        out::plain(model),
        calibration.task,
        whole.sample_size,
        measure::accuracy(&all) * 100.0
    );
    text += &format!(
        "calibration error {error:.3} ({low:.3} to {high:.3}), Brier score {:.4} (base rate {:.4}), AUROC {:.3}\n\n",
        measure::brier(&all),
        measure::brier_of_base(&all),
        measure::auroc(&all)
    );
    text += &chart::reliability(&measure::bins(&all, measure::BINS));
    text += "\n";
    text += &wanted.text(calibration);
    out::answer(&text)
}

fn one_json(c: &Calibration, wanted: &Wanted) -> Value {
    let stage = |s: &Staged| {
        let all = s.judged();
        json!({
            "stage": s.stage.name(), "sample_size": s.sample_size, "error": s.error.0,
            "error_interval": [s.error.1, s.error.2], "accuracy": measure::accuracy(&all),
            "brier": measure::brier(&all), "brier_of_base_rate": measure::brier_of_base(&all),
            "auroc": measure::auroc(&all), "routing": wanted.json(s),
        })
    };
    json!({
        "model": c.model, "task": c.task, "made": c.made, "samples": c.samples,
        "stages": c.stages.iter().map(stage).collect::<Vec<_>>(),
    })
}

/// What has been learned so far, and what the aim makes of it.
fn list(args: &Args, judge: &Judge, wanted: &Wanted) -> anyhow::Result<()> {
    let all: Vec<&Calibration> = judge.calibrations().collect();
    if args.json {
        let all: Vec<Value> = all.iter().map(|c| one_json(c, wanted)).collect();
        return out::json(&all);
    }
    if all.is_empty() {
        out::note("Nothing has been learned yet: give --data FILE.");
        return Ok(());
    }
    let head = [
        "MODEL",
        "TASK",
        "MADE",
        "OUTCOMES",
        "ERROR",
        "RIGHT",
        "BELOW",
        "ESCALATED",
        "THEN RIGHT",
    ];
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let row = |c: &&Calibration| {
        let last = c.stages.last();
        let judged = last.map(Staged::judged).unwrap_or_default();
        let threshold = wanted.threshold(&judged);
        let of = |text: fn(&Threshold) -> String| threshold.as_ref().map_or("-".into(), text);
        vec![
            out::plain(c.model.get(..24).unwrap_or(&c.model)),
            c.task.clone(),
            clock::day(i64::try_from(c.made).unwrap_or_default()),
            last.map_or(0, |s| s.sample_size).to_string(),
            last.map_or(String::new(), |s| format!("{:.3}", s.error.0)),
            percent(measure::accuracy(&judged)),
            of(|t| format!("{:.3}", t.probability.min(1.0))),
            of(|t| format!("{:.1}%", t.escalated * 100.0)),
            of(|t| format!("{:.1}%", t.accuracy * 100.0)),
        ]
    };
    let head = head.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(all.iter().map(row)).collect();
    out::note(format!("Aim: {}", wanted.words()));
    out::answer(&out::table(&rows))
}
