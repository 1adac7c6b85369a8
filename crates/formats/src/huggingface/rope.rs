//! Rotary positions: the base, and how positions are stretched for contexts beyond those of training.
//!
//! transformers 5 writes them as `rope_parameters`, one object or one a kind of layer; before, the base
//! stood beside `rope_scaling`. Definitions: `modeling_rope_utils` of transformers.

use super::HuggingFaceError;
use super::architecture::{Architecture, Family};
use super::hparams::Shape;
use super::json::{Json, nearest};
use super::recipe::Recipe;
use crate::gguf::Value;

/// Keys and tensors.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pairs: Vec<(&'static str, Value)>,
    factors: Vec<(&'static str, Vec<f32>)>,
}

impl Rope {
    /// Adds the keys of architecture `arch`.
    pub(super) fn write(&self, arch: &str, pairs: &mut Vec<(String, Value)>) {
        let named = |(key, value): &(&str, Value)| (format!("{arch}.rope.{key}"), value.clone());
        pairs.extend(self.pairs.iter().map(named));
    }

    /// The tensors of factors on wavelengths.
    pub(super) fn tensors(&self) -> impl Iterator<Item = Recipe> {
        let made = |(name, values): &(&str, Vec<f32>)| Recipe::made(name, values);
        self.factors.iter().map(made)
    }
}

/// Reads what config.json says of positions; nothing where they are not rotary.
pub(super) fn read(
    architecture: &Architecture,
    config: &Json,
    shape: &Shape,
) -> Result<Rope, HuggingFaceError> {
    let mut rope = Rope::default();
    if matches!(architecture.family, Family::Bert | Family::Roberta) {
        return Ok(rope);
    }
    let none = || Json::empty(config.file);
    let (own, local) = parameters(config)?;
    let own = own.unwrap_or_else(none);
    let theta = match own.f64("rope_theta")? {
        Some(theta) => Some(theta),
        None => match config.f64("rope_theta")? {
            None => config.f64("rotary_emb_base")?,
            found => found,
        },
    };
    let theta = theta.unwrap_or(default_theta(architecture.family));
    rope.pairs.push(("freq_base", nearest(theta).into()));
    if architecture.family == Family::Gemma3 {
        let local = local.unwrap_or_else(none);
        refuse_scaling(&local)?;
        let base = match local.f64("rope_theta")? {
            None => config.f64("rope_local_base_freq")?,
            found => found,
        };
        let base = nearest(base.unwrap_or(10_000.0));
        if base != 10_000.0 {
            rope.pairs.push(("freq_base_swa", base.into()));
        }
    }
    let dim = dimensions(architecture, config, &own, shape)?;
    if dim != shape.head_dim
        || architecture.turns_neighbours()
        || architecture.family == Family::Phi3
    {
        rope.pairs.push(("dimension_count", dim.into()));
    }
    let scaling = Scaling {
        config,
        own: &own,
        shape,
        theta,
        dim,
    };
    match kind(&own)? {
        "default" => {}
        "linear" => scaling.linear(&mut rope)?,
        "llama3" => scaling.llama3(&mut rope)?,
        "yarn" => scaling.yarn(&mut rope)?,
        "longrope" | "su" => scaling.longrope(&mut rope)?,
        other => return Err(own.unsupported("rope_type", other)),
    }
    Ok(rope)
}

/// What holds for all layers, or for those that see everything; and what holds for those that have a
/// window.
fn parameters(config: &Json) -> Result<(Option<Json>, Option<Json>), HuggingFaceError> {
    let Some(both) = config.object("rope_parameters")? else {
        return Ok((config.object("rope_scaling")?, None));
    };
    let (full, sliding) = (
        both.object("full_attention")?,
        both.object("sliding_attention")?,
    );
    match full {
        Some(full) => Ok((Some(full), sliding)),
        None => Ok((Some(both), None)),
    }
}

fn kind(own: &Json) -> Result<&str, HuggingFaceError> {
    let kind = match own.str("rope_type")? {
        None => own.str("type")?,
        found => found,
    };
    Ok(kind.unwrap_or("default"))
}

fn refuse_scaling(local: &Json) -> Result<(), HuggingFaceError> {
    match kind(local)? {
        "default" => Ok(()),
        other => Err(local.unsupported("sliding_attention.rope_type", other)),
    }
}

fn default_theta(family: Family) -> f64 {
    match family {
        Family::Gemma3 | Family::Mixtral => 1_000_000.0,
        Family::NomicBert => 1_000.0,
        _ => 10_000.0,
    }
}

/// Elements of a head that are turned.
fn dimensions(
    architecture: &Architecture,
    config: &Json,
    own: &Json,
    shape: &Shape,
) -> Result<u32, HuggingFaceError> {
    let mut part = None;
    for (json, key) in [
        (own, "partial_rotary_factor"),
        (config, "partial_rotary_factor"),
        (config, "rotary_emb_fraction"),
    ] {
        if part.is_none() {
            part = json.f64(key)?;
        }
    }
    let Some(part) = part.filter(|&part| part != 1.0) else {
        return Ok(shape.head_dim);
    };
    // Rows of queries and keys are reordered over whole heads.
    if architecture.turns_neighbours() || !(0.0..1.0).contains(&part) {
        return Err(config.unsupported("partial_rotary_factor", &part.to_string()));
    }
    // Cut to a whole number, as transformers does; below the head's length, so it is one.
    let dim = libm::floor(f64::from(shape.head_dim) * part);
    Ok(format!("{dim:.0}").parse().unwrap_or(shape.head_dim))
}

struct Scaling<'a> {
    config: &'a Json,
    own: &'a Json,
    shape: &'a Shape,
    theta: f64,
    dim: u32,
}

impl Scaling<'_> {
    fn positive(&self, key: &str) -> Result<Option<f64>, HuggingFaceError> {
        match self.own.f64(key)? {
            Some(number) if number <= 0.0 => Err(self.own.value(key, "and must be above 0")),
            number => Ok(number),
        }
    }

    fn require(&self, key: &str) -> Result<f64, HuggingFaceError> {
        self.positive(key)?.ok_or_else(|| self.own.missing(key))
    }

    /// Positions of the first training.
    fn original(&self) -> Result<u32, HuggingFaceError> {
        const KEY: &str = "original_max_position_embeddings";
        let said = match self.config.u32(KEY)? {
            None => self.own.u32(KEY)?,
            found => found,
        };
        match said {
            Some(0 | 1) => Err(self.own.value(KEY, "and must be above 1")),
            said => Ok(said.unwrap_or(self.shape.context)),
        }
    }

    fn linear(&self, rope: &mut Rope) -> Result<(), HuggingFaceError> {
        let factor = nearest(self.require("factor")?);
        rope.pairs.push(("scaling.type", "linear".into()));
        rope.pairs.push(("scaling.factor", factor.into()));
        Ok(())
    }

    /// Llama 3.1: wavelengths that fit often into the old context stay, long ones are stretched, and
    /// between the two the stretch grows. GGUF files hold the factor of each wavelength.
    fn llama3(&self, rope: &mut Rope) -> Result<(), HuggingFaceError> {
        let factor = self.require("factor")?;
        let (low, high) = (
            self.require("low_freq_factor")?,
            self.require("high_freq_factor")?,
        );
        let original = self.own.require_u32("original_max_position_embeddings")?;
        if high <= low {
            return Err(self
                .own
                .value("high_freq_factor", "and must be above `low_freq_factor`"));
        }
        let stretch = |pair: u32| {
            let exponent = -2.0 * f64::from(pair) / f64::from(self.dim);
            let frequency = libm::pow(self.theta, exponent);
            let turns = f64::from(original) * frequency / std::f64::consts::TAU;
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            nearest(1.0 / ((1.0 - kept) / factor + kept))
        };
        let factors = (0..self.dim / 2).map(stretch).collect();
        rope.factors.push(("rope_freqs.weight", factors));
        Ok(())
    }

    fn yarn(&self, rope: &mut Rope) -> Result<(), HuggingFaceError> {
        if self.own.bool("truncate")? == Some(false) {
            return Err(self.own.unsupported("truncate", "false"));
        }
        let factor = self.require("factor")?;
        rope.pairs.push(("scaling.type", "yarn".into()));
        rope.pairs.push(("scaling.factor", nearest(factor).into()));
        rope.pairs
            .push(("scaling.original_context_length", self.original()?.into()));
        let betas = [
            ("beta_fast", "scaling.yarn_beta_fast", 32.0),
            ("beta_slow", "scaling.yarn_beta_slow", 1.0),
        ];
        for (name, key, usual) in betas {
            if let Some(beta) = self.positive(name)?.filter(|&beta| beta != usual) {
                rope.pairs.push((key, nearest(beta).into()));
            }
        }
        let usual = |scale: f64| match factor > 1.0 {
            true => 0.1 * scale * libm::log(factor) + 1.0,
            false => 1.0,
        };
        let said = match (self.positive("attention_factor")?, self.mscale()?) {
            (Some(said), _) => said,
            (None, Some((own, all))) => usual(own) / usual(all),
            (None, None) => return Ok(()),
        };
        // In GGUF it multiplies the usual magnitude, in transformers it replaces it.
        rope.pairs
            .push(("scaling.attn_factor", nearest(said / usual(1.0)).into()));
        Ok(())
    }

    /// Two factors, of which transformers uses both or none.
    fn mscale(&self) -> Result<Option<(f64, f64)>, HuggingFaceError> {
        let of = |key| Ok(self.own.f64(key)?.filter(|&scale| scale != 0.0));
        Ok(of("mscale")?.zip(of("mscale_all_dim")?))
    }

    /// A factor for each wavelength, one set for contexts up to that of the first training and one
    /// for longer ones.
    fn longrope(&self, rope: &mut Rope) -> Result<(), HuggingFaceError> {
        let original = self.original()?;
        let sets = [
            ("long_factor", "rope_factors_long.weight"),
            ("short_factor", "rope_factors_short.weight"),
        ];
        for (key, name) in sets {
            let factors = self.own.f32s(key)?.ok_or_else(|| self.own.missing(key))?;
            let wanted = self.dim / 2;
            if u32::try_from(factors.len()) != Ok(wanted) {
                return Err(self
                    .own
                    .value(key, format!("and must have {wanted} numbers")));
            }
            if factors.iter().any(|&factor| factor <= 0.0) {
                return Err(self.own.value(key, "and must be above 0"));
            }
            rope.factors.push((name, factors));
        }
        let ratio = f64::from(self.shape.context) / f64::from(original);
        let factor = self.positive("factor")?.unwrap_or(ratio);
        let usual = match factor > 1.0 {
            true => libm::sqrt(1.0 + libm::log(factor) / libm::log(f64::from(original))),
            false => 1.0,
        };
        let magnitude = self.positive("attention_factor")?.unwrap_or(usual);
        rope.pairs
            .push(("scaling.original_context_length", original.into()));
        rope.pairs
            .push(("scaling.attn_factor", nearest(magnitude).into()));
        Ok(())
    }
}
