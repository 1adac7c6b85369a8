//! Which files of a repository are one model: by quantisation, all parts of it, no projector.

use crate::names::{Quant, RepoFile};
use crate::split::PartName;
use std::collections::BTreeMap;
use std::path::Path;

/// What is taken where nobody asks for another one: good quality at a quarter of the size first, then
/// better ones, then smaller ones.
const ORDER: &[&str] = &[
    "Q4_K_M",
    "UD-Q4_K_XL",
    "Q4_K_L",
    "Q4_K_S",
    "Q4_0",
    "Q5_K_M",
    "Q5_K_S",
    "Q6_K",
    "Q8_0",
    "IQ4_NL",
    "IQ4_XS",
    "Q4_1",
    "Q5_0",
    "Q5_1",
    "Q4",
    "Q8",
    "MXFP4",
    "MXFP4_MOE",
    "BF16",
    "F16",
    "F32",
    "Q3_K_L",
    "Q3_K_M",
    "Q3_K_S",
];

/// One model of a repository: a GGUF file, or all parts of a split one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// As `Q4_K_M`, from the name of the file or of its folder; `None` where neither says.
    pub quant: Option<String>,
    /// Its files, the first one first.
    pub files: Vec<RepoFile>,
    /// How many files there should be.
    pub n_files: usize,
}

impl Variant {
    /// The first file: the one to open.
    pub fn first(&self) -> Option<&RepoFile> {
        self.files.first()
    }

    /// Whether all parts are there.
    pub fn is_complete(&self) -> bool {
        self.files.len() == self.n_files
    }

    /// What a person calls it.
    pub fn label(&self) -> &str {
        match (&self.quant, self.first()) {
            (Some(quant), _) => quant,
            (None, Some(file)) => file.file_name(),
            (None, None) => "",
        }
    }

    fn is(&self, wanted: &Quant) -> bool {
        let file = |file: &RepoFile| {
            let stem = stem(file).0;
            wanted.is(file.file_name()) || wanted.is(file.as_str()) || wanted.is(&stem)
        };
        self.quant.as_deref().is_some_and(|quant| wanted.is(quant)) || self.files.iter().any(file)
    }
}

/// Why no variant could be picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPick {
    /// There is no GGUF file at all.
    NoGguf,
    /// There are others.
    NotThere,
    /// There are several that are meant: their first files.
    Several(Vec<RepoFile>),
}

/// The models among the files of a repository. Projectors (`mmproj`) and importance matrices are no
/// models of their own.
pub fn variants(files: &[RepoFile]) -> Vec<Variant> {
    /// Folder, name without the number of the part, number of parts.
    type Key<'f> = (Option<&'f str>, String, usize);
    let mut variants: BTreeMap<Key<'_>, Vec<(u32, RepoFile)>> = BTreeMap::new();
    for file in files.iter().filter(|file| is_model(file.file_name())) {
        let (stem, part) = stem(file);
        let (index, count) = part.unwrap_or((0, 1));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let key = (file.folder(), stem, count);
        variants.entry(key).or_default().push((index, file.clone()));
    }
    let variants = variants
        .into_iter()
        .map(|((folder, stem, n_files), mut files)| {
            files.sort_unstable();
            files.dedup();
            let folder = folder.and_then(|folder| folder.rsplit('/').next());
            Variant {
                quant: quant_of(&stem).or_else(|| folder.and_then(quant_of)),
                files: files.into_iter().map(|(_, file)| file).collect(),
                n_files,
            }
        });
    variants.collect()
}

/// The variant that is asked for, or the one to take where nothing is asked for.
///
/// # Errors
/// [`NoPick`].
pub fn pick<'v>(variants: &'v [Variant], wanted: Option<&Quant>) -> Result<&'v Variant, NoPick> {
    if variants.is_empty() {
        return Err(NoPick::NoGguf);
    }
    let meant: Vec<&Variant> = match wanted {
        Some(wanted) => variants
            .iter()
            .filter(|variant| variant.is(wanted))
            .collect(),
        None => {
            let best = variants.iter().map(rank).min().unwrap_or(usize::MAX);
            variants
                .iter()
                .filter(|variant| rank(variant) == best)
                .collect()
        }
    };
    // A file beside the others is meant rather than one in a folder of its own.
    let depth = |variant: &Variant| variant.first().map_or(0, RepoFile::depth);
    let least = meant
        .iter()
        .map(|variant| depth(variant))
        .min()
        .unwrap_or(0);
    let meant: Vec<&Variant> = meant
        .into_iter()
        .filter(|variant| depth(variant) == least)
        .collect();
    match meant.as_slice() {
        [] => Err(NoPick::NotThere),
        [one] => Ok(one),
        several => Err(NoPick::Several(
            several
                .iter()
                .filter_map(|variant| variant.first().cloned())
                .collect(),
        )),
    }
}

/// The place in [`ORDER`]; what is not in it comes after.
fn rank(variant: &Variant) -> usize {
    let quant = variant.quant.as_deref();
    let place = quant.and_then(|quant| ORDER.iter().position(|known| *known == quant));
    place.unwrap_or(ORDER.len() + usize::from(quant.is_none()))
}

fn is_model(file: &str) -> bool {
    let name = file.to_ascii_lowercase();
    name.ends_with(".gguf") && !name.contains("mmproj") && !name.contains("imatrix")
}

/// The name without its ending and the number of its part, and which part of how many it is.
fn stem(file: &RepoFile) -> (String, Option<(u32, u32)>) {
    match PartName::parse(Path::new(file.file_name())) {
        Some(part) => (part.stem, Some((part.index, part.count))),
        None => {
            let name = file.file_name();
            let end = name.len().saturating_sub(".gguf".len());
            (name.get(..end).unwrap_or(name).to_owned(), None)
        }
    }
}

/// The quantisation at the end of a name, in capitals: `x-UD-Q4_K_XL`, `x.q8_0`, `x-fp16`, `Q4_K_M`.
pub(crate) fn quant_of(stem: &str) -> Option<String> {
    let stem = stem.to_ascii_uppercase();
    let starts = stem.match_indices(['-', '.', '_']).map(|(at, _)| at + 1);
    let quant = std::iter::once(0).chain(starts).find_map(|start| {
        let end = stem.get(start..)?;
        is_quant(end).then_some(end)
    })?;
    Some(quant.replace("FP16", "F16").replace("FP32", "F32"))
}

/// The names that llama.cpp's quantisations have, and those that others derive from them.
fn is_quant(text: &str) -> bool {
    let text = text.strip_prefix("UD-").unwrap_or(text);
    if matches!(
        text,
        "F16" | "F32" | "BF16" | "FP16" | "FP32" | "MXFP4" | "MXFP4_MOE" | "TQ1_0" | "TQ2_0"
    ) {
        return true;
    }
    let text = text.strip_prefix('I').unwrap_or(text);
    let mut parts = text.split('_');
    let bits = parts.next().and_then(|first| first.strip_prefix('Q'));
    bits.is_some_and(|bits| matches!(bits, "1" | "2" | "3" | "4" | "5" | "6" | "8"))
        && parts.all(|part| {
            (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<RepoFile> {
        names
            .iter()
            .map(|name| RepoFile::parse(name).unwrap())
            .collect()
    }

    fn first(names: &[&str], wanted: Option<&str>) -> Result<String, NoPick> {
        let wanted = wanted.map(|wanted| Quant::parse(wanted).unwrap());
        let variants = variants(&files(names));
        pick(&variants, wanted.as_ref()).map(|variant| variant.first().unwrap().to_string())
    }

    #[test]
    fn quantisations_of_real_names() {
        for (name, quant) in [
            ("Qwen3-4B-Q4_K_M", Some("Q4_K_M")),
            ("qwen2.5-0.5b-instruct-q4_k_m", Some("Q4_K_M")),
            ("tinyllama-1.1b-chat-v1.0.Q4_K_M", Some("Q4_K_M")),
            ("gemma-4-E4B-it-UD-Q4_K_XL", Some("UD-Q4_K_XL")),
            ("Phi-3-mini-4k-instruct-fp16", Some("F16")),
            ("Phi-3-mini-4k-instruct-q4", Some("Q4")),
            ("x.i1-IQ2_XXS", Some("IQ2_XXS")),
            ("model_q8_0", Some("Q8_0")),
            ("Q4_0_4_8", Some("Q4_0_4_8")),
            ("gpt-oss-20b-mxfp4", Some("MXFP4")),
            ("stories260K", None),
            ("Qwen3-4B", None),
            ("", None),
        ] {
            assert_eq!(quant_of(name).as_deref(), quant, "{name}");
        }
    }

    #[test]
    fn the_usual_one_is_taken() {
        let repo = [
            "README.md",
            "m-Q8_0.gguf",
            "m-Q4_K_M.gguf",
            "m-IQ2_M.gguf",
            "mmproj-m-F16.gguf",
            "m-imatrix.gguf",
        ];
        assert_eq!(first(&repo, None).unwrap(), "m-Q4_K_M.gguf");
        assert_eq!(first(&repo, Some("q8_0")).unwrap(), "m-Q8_0.gguf");
        assert_eq!(first(&repo, Some("m-IQ2_M.gguf")).unwrap(), "m-IQ2_M.gguf");
        assert_eq!(first(&repo, Some("F16")), Err(NoPick::NotThere));
        assert_eq!(
            first(&["m-Q8_0.gguf", "m-Q2_K.gguf"], None).unwrap(),
            "m-Q8_0.gguf"
        );
        assert_eq!(first(&["model.gguf"], None).unwrap(), "model.gguf");
        assert_eq!(first(&["model.safetensors"], None), Err(NoPick::NoGguf));
    }

    #[test]
    fn all_parts_belong_together() {
        let names = [
            "BF16/m-00002-of-00002.gguf",
            "BF16/m-00001-of-00002.gguf",
            "Q8_0/m-Q8_0-00001-of-00003.gguf",
        ];
        let variants = variants(&files(&names));
        let wanted = Quant::parse("bf16").unwrap();
        let variant = pick(&variants, Some(&wanted)).unwrap();
        assert_eq!(
            variant.first().unwrap().as_str(),
            "BF16/m-00001-of-00002.gguf"
        );
        assert!(variant.is_complete() && variant.files.len() == 2);
        let wanted = Quant::parse("Q8_0").unwrap();
        assert!(!pick(&variants, Some(&wanted)).unwrap().is_complete());
    }

    #[test]
    fn two_of_one_kind_are_not_guessed_between() {
        let repo = ["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"];
        assert_eq!(first(&repo, None), Err(NoPick::Several(files(&repo))));
        assert_eq!(
            first(&repo, Some("b-Q4_K_M.gguf")).unwrap(),
            "b-Q4_K_M.gguf"
        );
        assert_eq!(
            first(&["x/m-Q4_K_M.gguf", "m-Q4_K_M.gguf"], None).unwrap(),
            "m-Q4_K_M.gguf"
        );
    }
}
