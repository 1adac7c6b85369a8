//! Traces of drawn routers: what the files of `make_gguf.py` would show if hidden states pointed anywhere.

use crate::trace::Trace;

/// Elements of a hidden state; enough for the rows of a router to be nearly independent.
const WIDTH: usize = 128;

/// What is drawn.
pub struct Drawn {
    pub n_layers: usize,
    pub n_experts: usize,
    pub top_k: usize,
    pub n_passes: usize,
    /// Rows of a pass.
    pub rows: usize,
    /// The rows of a router are `exp(sigma * N(0, 1))` long.
    pub sigma: f64,
    /// How much of a hidden state comes from that of the token before, 0 to 1.
    pub stays: f64,
}

/// Names and kinds: hidden states that have nothing to do with the token before, and such that change slowly;
/// prompts.
pub fn kinds() -> Vec<(&'static str, Drawn)> {
    let drawn = |sigma, stays, rows, n_passes| Drawn {
        n_layers: 8,
        n_experts: 128,
        top_k: 8,
        n_passes,
        rows,
        sigma,
        stays,
    };
    vec![
        ("drawn, routers alike", drawn(0.0, 0.0, 1, 240)),
        ("drawn", drawn(0.3, 0.0, 1, 240)),
        ("drawn, changing slowly", drawn(0.3, 0.8, 1, 240)),
        ("drawn, 16 rows a pass", drawn(0.3, 0.0, 16, 60)),
        ("drawn, 256 rows a pass", drawn(0.3, 0.0, 256, 12)),
    ]
}

impl Drawn {
    pub fn trace(&self) -> Trace {
        let mut noise = Noise(1);
        let routers: Vec<Vec<f64>> = (0..self.n_layers * self.n_experts)
            .map(|_| {
                let scale = (self.sigma * noise.normal()).exp();
                (0..WIDTH).map(|_| scale * noise.normal()).collect()
            })
            .collect();
        let mut states = vec![vec![0.0; WIDTH]; self.n_layers];
        for x in states.iter_mut().flatten() {
            *x = noise.normal();
        }
        let mut trace = Trace {
            n_layers: self.n_layers,
            n_experts: self.n_experts,
            top_k: self.top_k,
            uses: Vec::new(),
            groups: Vec::new(),
        };
        let fresh = (1.0 - self.stays * self.stays).sqrt();
        for _ in 0..self.n_passes {
            let mut used = vec![false; trace.n_units()];
            for _ in 0..self.rows {
                for (layer, state) in states.iter_mut().enumerate() {
                    for x in state.iter_mut() {
                        *x = self.stays * *x + fresh * noise.normal();
                    }
                    let first = layer * self.n_experts;
                    let routers = &routers[first..][..self.n_experts];
                    for expert in best(routers, state, self.top_k) {
                        used[first + expert] = true;
                    }
                }
            }
            for layer in 0..self.n_layers {
                let start = trace.uses.len();
                let units = layer * self.n_experts..(layer + 1) * self.n_experts;
                trace
                    .uses
                    .extend(units.filter(|u| used[*u]).map(|u| u as u32));
                trace.groups.push(start..trace.uses.len());
            }
        }
        trace
    }
}

/// The rows with the largest products with `state`.
fn best(router: &[Vec<f64>], state: &[f64], top_k: usize) -> Vec<usize> {
    let product = |row: &Vec<f64>| -> f64 { row.iter().zip(state).map(|(w, x)| w * x).sum() };
    let mut scores: Vec<(usize, f64)> = router.iter().map(product).enumerate().collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1));
    scores.iter().take(top_k).map(|(i, _)| *i).collect()
}

/// Numbers drawn from a counter.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, variance 1: the sum of twelve is near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_used_again() {
        let overlap = |stays| {
            let drawn = Drawn {
                n_layers: 2,
                n_experts: 16,
                top_k: 2,
                n_passes: 200,
                rows: 1,
                sigma: 0.3,
                stays,
            };
            let trace = drawn.trace();
            let again = |i: usize| {
                let before = &trace.uses[trace.groups[i - 2].clone()];
                let now = &trace.uses[trace.groups[i].clone()];
                now.iter().filter(|unit| before.contains(unit)).count()
            };
            (2..trace.groups.len()).map(again).sum::<usize>()
        };
        assert!(overlap(0.9) > 2 * overlap(0.0));
    }
}
