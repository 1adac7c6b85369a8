//! Which experts a model chose, pass by pass: what the example `routes` of the crate `ingle` prints.

use std::ops::Range;

/// A recorded trace.
pub struct Trace {
    /// Layers with experts.
    pub n_layers: usize,
    /// Experts of a layer.
    pub n_experts: usize,
    /// Experts that a row uses.
    pub top_k: usize,
    /// All uses; a unit is `layer * n_experts + expert`.
    pub uses: Vec<u32>,
    /// The uses of each layer of each pass, in order of time.
    pub groups: Vec<Range<usize>>,
}

impl Trace {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let head: Vec<usize> = numbers(lines.next().unwrap_or(""), ' ')?;
        let [n_layers, n_experts, top_k] = head[..] else {
            return Err("the first line is not: layers experts top_k".into());
        };
        let mut trace = Self {
            n_layers,
            n_experts,
            top_k,
            uses: Vec::new(),
            groups: Vec::new(),
        };
        for line in lines {
            trace.pass(line)?;
        }
        Ok(trace)
    }

    fn pass(&mut self, line: &str) -> Result<(), String> {
        let layers: Vec<&str> = line.split(' ').skip(1).collect();
        if layers.len() != self.n_layers {
            return Err(format!("{} layers in `{line}`", layers.len()));
        }
        for (layer, experts) in layers.iter().enumerate() {
            let start = self.uses.len();
            for expert in numbers(experts, ',')? {
                if expert >= self.n_experts {
                    return Err(format!("there is no expert {expert}"));
                }
                self.uses.push((layer * self.n_experts + expert) as u32);
            }
            self.groups.push(start..self.uses.len());
        }
        Ok(())
    }

    /// All experts of all layers.
    pub fn n_units(&self) -> usize {
        self.n_layers * self.n_experts
    }
}

fn numbers(text: &str, between: char) -> Result<Vec<usize>, String> {
    let words = text.split(between).filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse()
                .map_err(|_| format!("`{word}` is not a number"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_groups() {
        let trace = Trace::parse("2 4 2\n1 0,3 1,2\n2 0,1,3 2\n").unwrap();
        assert_eq!(trace.uses, [0, 3, 5, 6, 0, 1, 3, 6]);
        assert_eq!(trace.groups, [0..2, 2..4, 4..7, 7..8]);
        assert!(Trace::parse("2 4 2\n1 0,4 1,2").is_err());
        assert!(Trace::parse("2 4 2\n1 0,3").is_err());
    }
}
