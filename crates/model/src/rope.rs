//! Rotary position frequencies and their scaling for longer contexts.
//!
//! Everything is computed in f64 with `libm`, so that it does not depend on the platform, and
//! rounded to f32 once.

use crate::ModelError;
use crate::keys::Keys;
use ingle_formats::TensorType;
use ingle_tensor::ops::{LoadError, Rope, RopePairs};

/// Factors on wavelengths, one a pair, that converters write for Llama 3.1 and later.
const FREQS: &str = "rope_freqs.weight";
/// The same for longrope: for sequences as long as in the first training, and for longer ones.
const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

/// The tensors that are read here.
pub(crate) const FACTORS: [&str; 3] = [FREQS, SHORT, LONG];

/// Reads and checks the metadata, and those of the tensors [`FACTORS`] that the file has.
pub(crate) fn read(
    keys: &Keys<'_>,
    pairs: RopePairs,
    head_dim: usize,
    context_len: u32,
) -> Result<Rope, ModelError> {
    let dim = keys
        .optional_count("rope.dimension_count", head_dim)?
        .unwrap_or(head_dim);
    if dim % 2 != 0 {
        return Err(keys.bad_value("rope.dimension_count", dim, "it must be even"));
    }
    let base = base(keys, "rope.freq_base")?;
    let mut frequencies = powers(base, dim);
    let longrope = Longrope::read(keys, dim / 2, context_len)?;
    let factors = match &longrope {
        Some(longrope) => Some(longrope.factors.clone()),
        None => factors(keys, FREQS, dim / 2)?,
    };
    if let Some(factors) = &factors {
        let both = frequencies.iter_mut().zip(factors);
        both.for_each(|(frequency, &factor)| *frequency /= f64::from(factor));
    }

    let attn_factor = longrope.as_ref().map_or(1.0, |longrope| longrope.magnitude);
    let mut magnitude = positive(keys, "rope.scaling.attn_factor", attn_factor)?;
    match keys.str("rope.scaling.type")? {
        None | Some("longrope") if longrope.is_some() => {}
        Some(other) if longrope.is_some() => {
            return Err(keys.unsupported(
                "rope.scaling.type",
                other.escape_debug(),
                "the file has the factors of longrope, which go with no other scaling",
            ));
        }
        None | Some("linear") => {
            let factor = linear_factor(keys)?;
            frequencies.iter_mut().for_each(|f| *f /= factor);
        }
        Some("none") => {}
        Some("llama3") if factors.is_some() => {}
        Some("yarn") => {
            let yarn = Yarn::read(keys, context_len)?;
            yarn.scale(&mut frequencies, base);
            magnitude *= yarn.magnitude;
        }
        Some(other) => {
            return Err(keys.unsupported(
                "rope.scaling.type",
                other.escape_debug(),
                "this way of scaling positions is not supported",
            ));
        }
    }
    Ok(Rope {
        pairs,
        frequencies: frequencies.into_iter().map(|f| f as f32).collect(),
        magnitude: magnitude as f32,
    })
}

/// How layers with a window turn positions where they have a base of their own (Gemma 3): without
/// scaling, for they never see far.
pub(crate) fn read_local(
    keys: &Keys<'_>,
    pairs: RopePairs,
    head_dim: usize,
) -> Result<Rope, ModelError> {
    // The second name is that of files which Ollama converted.
    let names = ["rope.freq_base_swa", "rope.local.freq_base"];
    let given = names.iter().find(|name| keys.is_number(name));
    let base = base(keys, given.unwrap_or(&names[0]))?;
    Ok(Rope {
        pairs,
        frequencies: powers(base, head_dim)
            .into_iter()
            .map(|f| f as f32)
            .collect(),
        magnitude: 1.0,
    })
}

/// Positions up to which the network is as it was first trained, whatever it is loaded for:
/// longer contexts change the factors of longrope.
pub(crate) fn native_len(keys: &Keys<'_>) -> Result<Option<u32>, ModelError> {
    match keys.source.tensor(LONG) {
        Some(_) => keys.u32(ORIGINAL_LEN),
        None => Ok(None),
    }
}

const ORIGINAL_LEN: &str = "rope.scaling.original_context_length";

fn base(keys: &Keys<'_>, key: &str) -> Result<f64, ModelError> {
    match f64::from(keys.f32(key)?.unwrap_or(10_000.0)) {
        base if base.is_finite() && base > 1.0 => Ok(base),
        base => Err(keys.bad_value(key, base, "it must be above 1")),
    }
}

/// `base^(-2i / dim)` for each pair.
fn powers(base: f64, dim: usize) -> Vec<f64> {
    let exponent = |i: usize| -((2 * i) as f64) / dim as f64;
    (0..dim / 2).map(|i| libm::pow(base, exponent(i))).collect()
}

/// A finite number above 0; `absent` where the file does not give it.
fn positive(keys: &Keys<'_>, key: &str, absent: f64) -> Result<f64, ModelError> {
    match keys.f32(key)?.map(f64::from) {
        None => Ok(absent),
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => Err(keys.bad_value(key, value, "it must be above 0")),
    }
}

/// Positions are divided by this; 0 in a file means 1, and the second key is that of old files.
fn linear_factor(keys: &Keys<'_>) -> Result<f64, ModelError> {
    for key in ["rope.scaling.factor", "rope.scale_linear"] {
        if keys.f32(key)?.is_some_and(|factor| factor != 0.0) {
            return positive(keys, key, 1.0);
        }
    }
    Ok(1.0)
}

fn factors(keys: &Keys<'_>, name: &str, n: usize) -> Result<Option<Vec<f32>>, ModelError> {
    let Some(info) = keys.source.tensor(name) else {
        return Ok(None);
    };
    if info.shape != [n as u64] || info.ty != TensorType::F32 {
        return Err(LoadError::Shape {
            name: name.to_owned(),
            found: info.shape.clone(),
            expected: vec![n as u64],
        }
        .into());
    }
    let mut bytes = vec![0; n * 4];
    let read = keys.source.read(name, 0, &mut bytes);
    read.map_err(LoadError::from)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let factors: Vec<f32> = numbers.iter().map(|b| f32::from_le_bytes(*b)).collect();
    match factors.iter().find(|f| !f.is_finite() || **f <= 0.0) {
        Some(bad) => Err(ModelError::Value {
            key: name.to_owned(),
            value: bad.to_string(),
            rule: "its numbers must be above 0",
        }),
        None => Ok(Some(factors)),
    }
}

/// Positions of the first training.
fn original_len(keys: &Keys<'_>, context_len: u32) -> Result<u32, ModelError> {
    match keys.u32(ORIGINAL_LEN)?.unwrap_or(context_len) {
        0 => Err(keys.bad_value(ORIGINAL_LEN, 0, "it must be above 0")),
        len => Ok(len),
    }
}

/// Longrope: one factor a pair, found by search, for sequences as long as in the first training,
/// and another for longer ones (<https://arxiv.org/abs/2402.13753>).
///
/// Transformers chooses by the length of each sequence, and chooses again when an answer grows
/// past the first training's length; every cached key is then wrong and must be computed again.
/// Here, as in llama.cpp and vLLM, the context for which the network is loaded decides, once: a
/// sequence's keys are turned by one table from its first token to its last, also when another
/// sequence continues it. That context is the first training's unless a longer one is asked for
/// by number, so memory and neighbours never change the choice.
struct Longrope {
    /// The chosen factors.
    factors: Vec<f32>,
    /// Factor on cosine and sine.
    magnitude: f64,
}

impl Longrope {
    fn read(keys: &Keys<'_>, n: usize, context_len: u32) -> Result<Option<Self>, ModelError> {
        let [short, long] = [factors(keys, SHORT, n)?, factors(keys, LONG, n)?];
        let named = keys.str("rope.scaling.type")? == Some("longrope");
        let missing = |name: &str| Err(LoadError::Missing(name.to_owned()).into());
        let (short, long) = match (short, long) {
            (Some(short), Some(long)) => (short, long),
            (None, None) if !named => return Ok(None),
            (None, _) => return missing(SHORT),
            (_, None) => return missing(LONG),
        };
        let original_len = original_len(keys, context_len)?;
        let scale = f64::from(context_len) / f64::from(original_len);
        let magnitude = match scale > 1.0 && original_len > 1 {
            true => libm::sqrt(1.0 + libm::log(scale) / libm::log(f64::from(original_len))),
            false => 1.0,
        };
        Ok(Some(Self {
            factors: if keys.context > original_len {
                long
            } else {
                short
            },
            magnitude,
        }))
    }
}

/// YaRN: long wavelengths are stretched, short ones kept (<https://arxiv.org/abs/2309.00071>,
/// section 3.2; the magnitude is section 3.4).
struct Yarn {
    /// How much longer the context became.
    factor: f64,
    /// Positions of the first training.
    original_len: f64,
    /// Pairs that turn more often than this in `original_len` positions are kept ...
    beta_fast: f64,
    /// ... and those that turn less often than this are stretched whole.
    beta_slow: f64,
    /// How much of the unstretched frequency is mixed in; 1.
    extrapolation: f64,
    /// Factor on cosine and sine.
    magnitude: f64,
}

impl Yarn {
    fn read(keys: &Keys<'_>, context_len: u32) -> Result<Self, ModelError> {
        let original_len = original_len(keys, context_len)?;
        let factor = linear_factor(keys)?;
        let attention = 1.0 + 0.1 * libm::log(factor.max(1.0));
        Ok(Self {
            factor,
            original_len: f64::from(original_len),
            beta_fast: positive(keys, "rope.scaling.yarn_beta_fast", 32.0)?,
            beta_slow: positive(keys, "rope.scaling.yarn_beta_slow", 1.0)?,
            extrapolation: positive(keys, "rope.scaling.yarn_ext_factor", 1.0)?,
            magnitude: positive(keys, "rope.scaling.yarn_attn_factor", attention)?,
        })
    }

    fn scale(&self, frequencies: &mut [f64], base: f64) {
        let dim = 2.0 * frequencies.len() as f64;
        // The pair that turns `n` times in the original length.
        let pair = |n: f64| {
            dim * libm::log(self.original_len / (n * std::f64::consts::TAU))
                / (2.0 * libm::log(base))
        };
        let low = pair(self.beta_fast).floor().max(0.0);
        let high = pair(self.beta_slow).ceil().min(dim - 1.0);
        for (i, frequency) in frequencies.iter_mut().enumerate() {
            let ramp = (i as f64 - low) / (high - low).max(0.001);
            let kept = (1.0 - ramp.clamp(0.0, 1.0)) * self.extrapolation;
            *frequency = *frequency / self.factor * (1.0 - kept) + *frequency * kept;
        }
    }
}
