//! Names like one that was not found: "did you mean".

/// How many are worth reading.
const MOST: usize = 5;

/// The candidates nearest to `name`, the nearest first; none where nothing is near.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let wanted = plain(name);
    let mut near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| Some((distance(&wanted, &plain(candidate))?, candidate)))
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(MOST)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Small letters and digits only: `Qwen3:4B`, `qwen-3 4b` and `qwen3_4b` are one thing to a person.
fn plain(name: &str) -> Vec<char> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    letters.take(96).map(|c| c.to_ascii_lowercase()).collect()
}

/// How many letters one must change, at most a third of them; less for a name that holds the other.
fn distance(a: &[char], b: &[char]) -> Option<usize> {
    if a.len() < 2 || b.len() < 2 {
        return None;
    }
    if a == b {
        return Some(0);
    }
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    if short.len() >= 3 && long.windows(short.len()).any(|window| window == short) {
        return Some(1);
    }
    let changes = levenshtein(a, b);
    (changes * 3 <= a.len().max(b.len())).then_some(changes + 1)
}

/// Letters to insert, remove or change.
fn levenshtein(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (to, above) in b.iter().zip(row.windows(2)) {
            let [diagonal, above] = [above.first(), above.last()].map(|n| n.copied().unwrap_or(0));
            left = (diagonal + usize::from(from != to))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_other_spellings() {
        let names = [
            "qwen3:4b",
            "qwen3:8b",
            "qwen2.5-coder:7b",
            "llama3.2:1b",
            "gemma3:4b",
        ];
        let near = |name: &str| nearest(name, names);
        assert_eq!(near("qwen3-4b").first().unwrap(), "qwen3:4b");
        assert_eq!(near("Qwen3 4B").first().unwrap(), "qwen3:4b");
        assert_eq!(near("lama3.2:1b"), ["llama3.2:1b"]);
        assert_eq!(near("qwen3"), ["qwen3:4b", "qwen3:8b"]);
        assert_eq!(near("xyzzy"), [""; 0]);
        assert_eq!(near(""), [""; 0]);
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| levenshtein(&plain(a), &plain(b));
        assert_eq!(count("kitten", "sitting"), 3);
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", "abc"), 0);
    }
}
