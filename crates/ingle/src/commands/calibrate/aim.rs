//! What is wanted of routing, and which thresholds that makes.

use crate::Usage;
use crate::config::Route;
use ingle::gateway::confidence::calibration::Staged;
use ingle::gateway::confidence::chart::{self, Costs, money};
use ingle::gateway::confidence::measure::{self, Judged};
use ingle::gateway::confidence::{Aim, Calibration, Stage, Threshold};
use ingle::gateway::decide::AimSetting;
use serde_json::{Value, json};

/// What is wanted: by these flags, else by [route] in ingle.toml.
#[derive(clap::Args)]
pub struct AimArgs {
    /// Show what gives this share of right answers, as 0.95 [default: as [route] in ingle.toml says]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Aim")]
    accuracy: Option<f64>,
    /// Show what so much money a day gives, over --requests-per-day at --price
    #[arg(long, value_name = "MONEY", value_parser = amount, conflicts_with = "accuracy",
        requires_all = ["requests_per_day", "price"], help_heading = "Aim")]
    money_per_day: Option<f64>,
    /// Requests that are expected in a day
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Aim")]
    requests_per_day: Option<f64>,
    /// How often the other end is right [default: as [route] says, else 1]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Aim")]
    cloud_accuracy: Option<f64>,
    /// What an escalated request costs [default: 1]
    #[arg(long, value_name = "MONEY", value_parser = amount, help_heading = "Aim")]
    price: Option<f64>,
}

fn within(text: &str, low: f64, high: f64, what: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n| (low..=high).contains(n));
    number.ok_or_else(|| format!("give {what}"))
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0, "a number from 0 to 1, as 0.95")
}

fn amount(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1e9, "an amount of money, as 1.50")
}

fn count(text: &str) -> Result<f64, String> {
    within(text, 1.0, 1e12, "a number from 1 on")
}

/// What is wanted, and by whom it was said.
pub struct Wanted {
    aim: Option<Aim>,
    /// `--accuracy`, `[route]`; why there is no aim.
    by: String,
    /// What an escalated request costs.
    pub price: f64,
    cloud: f64,
    requests: Option<f64>,
}

impl Wanted {
    /// What the flags say, and ingle.toml where they say nothing.
    ///
    /// # Errors
    /// An aim in money, and no price to reckon with.
    pub fn of(args: &AimArgs, route: &Route) -> anyhow::Result<Self> {
        let cloud = args.cloud_accuracy.unwrap_or(route.cloud_accuracy);
        let per_day = |money: f64, requests: f64| match args.price {
            Some(price) if price > 0.0 => Ok(Aim::PerDay {
                money,
                price,
                requests,
            }),
            _ => Err(Usage(
                "money buys answers at a price: say with --price what an escalated request costs"
                    .into(),
            )),
        };
        let accuracy = |wanted| Aim::Accuracy { wanted, cloud };
        let mut requests = args.requests_per_day;
        let by_file = "[route] in ingle.toml";
        let (aim, by) = match (args.accuracy, args.money_per_day, route.aim) {
            (Some(wanted), _, _) => (Some(accuracy(wanted)), "--accuracy".to_owned()),
            (None, Some(money), _) => {
                let aim = per_day(money, requests.unwrap_or(1.0))?;
                (Some(aim), "--money-per-day".into())
            }
            (None, None, Some(AimSetting::Accuracy(wanted))) => {
                (Some(accuracy(wanted)), by_file.into())
            }
            (None, None, Some(AimSetting::Daily { money, requests: n })) => {
                requests = requests.or(Some(n));
                match per_day(money, n) {
                    Ok(aim) => (Some(aim), by_file.into()),
                    Err(_) => (None, format!("{by_file} gives money; --price says what it buys")),
                }
            }
            (None, None, None) => (None, "none is stated, and nothing escalates by its confidence; try --accuracy 0.95, or --money-per-day".into()),
        };
        Ok(Self {
            aim,
            by,
            price: args.price.unwrap_or(1.0),
            cloud,
            requests,
        })
    }

    /// What it is, in words.
    pub fn words(&self) -> String {
        match self.aim {
            None => self.by.clone(),
            Some(Aim::Accuracy { wanted, cloud }) => format!(
                "{:.1}% right in the end, the other end right in {:.1}% ({})",
                wanted * 100.0,
                cloud * 100.0,
                self.by
            ),
            Some(Aim::PerDay {
                money: sum,
                price,
                requests,
            }) => format!(
                "{} a day for {requests:.0} requests, {} an escalated one ({})",
                money(sum),
                money(price),
                self.by
            ),
            Some(Aim::PerRequest { money: sum, .. }) => {
                format!("{} a request ({})", money(sum), self.by)
            }
        }
    }

    /// The threshold on outcomes. An aim in money says nothing of how often the other end is right.
    pub fn threshold(&self, outcomes: &[Judged]) -> Option<Threshold> {
        let found = self.aim?.threshold(outcomes)?;
        let accuracy = measure::escalate(outcomes, found.escalated, self.cloud).accuracy;
        Some(Threshold { accuracy, ..found })
    }

    /// Which thresholds the aim makes at each moment, and what accuracy costs by the whole answer.
    pub fn text(&self, calibration: &Calibration) -> String {
        let mut text = format!("Aim: {}\n", self.words());
        if self.aim.is_some() {
            text += "\n  decided on      below  escalated  right in the end  cost a request";
            text += if self.requests.is_some() {
                "  a day\n"
            } else {
                "\n"
            };
            for staged in &calibration.stages {
                text += &self.line(staged);
            }
        }
        let whole = calibration.stages.last().map(Staged::judged);
        let whole = whole.unwrap_or_default();
        let costs = Costs {
            price: self.price,
            cloud: self.cloud,
            aim: self.threshold(&whole).map(|t| t.escalated),
        };
        text += "\nWhat accuracy costs, by the whole answer (`:` the same money at random):\n";
        text + &chart::cost_curve(&whole, &costs)
    }

    fn line(&self, staged: &Staged) -> String {
        let name = moment(staged.stage);
        let Some(t) = self.threshold(&staged.judged()) else {
            return format!("  {name:<14}  no threshold\n");
        };
        let cost = t.escalated * self.price;
        let day = self.requests.map(|n| format!("  {}", money(cost * n)));
        let far = if t.met {
            ""
        } else {
            "  out of reach: this is the nearest"
        };
        format!(
            "  {name:<14}  {:>5.3}  {:>8.1}%  {:>15.1}%  {:>14}{}{far}\n",
            t.probability.min(1.0),
            t.escalated * 100.0,
            t.accuracy * 100.0,
            money(cost),
            day.unwrap_or_default(),
        )
    }

    /// The same for programs.
    pub fn json(&self, staged: &Staged) -> Value {
        let all = staged.judged();
        let at = |tenth: u8| {
            let end = measure::escalate(&all, f64::from(tenth) / 10.0, self.cloud);
            json!({ "escalated": end.share, "cost": end.share * self.price, "accuracy": end.accuracy, "risk": end.risk })
        };
        let threshold = self.threshold(&all).map(|t| {
            json!({
                "probability": t.probability.min(1.0), "escalated": t.escalated, "accuracy": t.accuracy, "met": t.met,
                "cost": t.escalated * self.price, "cost_per_day": self.requests.map(|n| n * t.escalated * self.price),
            })
        });
        json!({ "aim": self.words(), "threshold": threshold, "curve": (0..=10).map(at).collect::<Vec<_>>() })
    }
}

/// A stage as a person knows it.
fn moment(stage: Stage) -> &'static str {
    match stage {
        Stage::Before => "the request",
        Stage::Prefix => "the beginning",
        Stage::After => "the answer",
    }
}
