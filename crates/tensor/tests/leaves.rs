//! Every leaf that this machine can run gives the bits of the scalar reference.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(
    unsafe_code,
    reason = "kernels are called as the CPU implementation calls them"
)]

use half::f16;
use ingle_formats::TensorType;
use ingle_tensor::kernel::matmul::{Activations, Column, PANEL, many};
use ingle_tensor::kernel::quantise::SUMS_256;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::pack::Layout;
use ingle_tensor::quant;
use proptest::prelude::*;

/// A small generator: the cases are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        self.0 >> 33
    }
    /// -1 to 1
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }
    /// Valid blocks: random bytes with scales of a sensible size.
    fn blocks(&mut self, ty: TensorType, n: usize) -> Vec<u8> {
        let size = ty.block_bytes() as usize;
        let mut out: Vec<u8> = (0..n * size).map(|_| self.next() as u8).collect();
        for block in out.chunks_exact_mut(size) {
            let scales: &[usize] = match ty {
                TensorType::F32 => {
                    block.copy_from_slice(&self.float().to_le_bytes());
                    continue;
                }
                TensorType::Bf16 => {
                    block.copy_from_slice(&half::bf16::from_f32(self.float()).to_le_bytes());
                    continue;
                }
                TensorType::Iq1M => {
                    // The exponent's upper bits, so that the scale is about 1/16.
                    block[55] = block[55] & 0xf | 0x20;
                    continue;
                }
                TensorType::Mxfp4 => {
                    block[0] = 120 + block[0] % 8;
                    continue;
                }
                _ => scale_places(ty),
            };
            for at in scales {
                block[*at..at + 2]
                    .copy_from_slice(&f16::from_f32(self.float() * 0.1).to_le_bytes());
            }
        }
        out
    }
}

/// Where the f16 scales of a block stand.
fn scale_places(ty: TensorType) -> &'static [usize] {
    match ty {
        TensorType::Q4_1 | TensorType::Q5_1 | TensorType::Q4K | TensorType::Q5K => &[0, 2],
        TensorType::Q6K => &[208],
        TensorType::Q2K => &[80, 82],
        TensorType::Q3K => &[108],
        TensorType::Tq1_0 => &[52],
        TensorType::Tq2_0 => &[64],
        _ => &[0],
    }
}

fn leaf(isa: Isa) -> Option<&'static Leaf> {
    let leaf = Leaf::new(isa);
    if leaf.is_none() {
        println!("skipped: this machine has no {isa}");
    }
    leaf
}

/// What `multiply` writes for these columns: `[columns][PANEL]`.
fn with_columns(
    leaf: &Leaf,
    ty: TensorType,
    k: usize,
    x: &[Vec<f32>],
    multiply: &dyn Fn(&[Column]),
) -> Vec<Vec<f32>> {
    let mut out = vec![vec![f32::NAN; PANEL]; x.len()];
    let mut quantised: Vec<(Vec<i8>, Vec<f32>, Vec<i16>)> = Vec::new();
    for x in x {
        let sums = k / 256 * SUMS_256 + k / 32;
        let mut q = (vec![0; k], vec![0.0; k / 32 + 1], vec![0; sums]);
        // SAFETY: this machine has the leaf's instruction set.
        unsafe {
            match Activations::of(ty) {
                Activations::Float => {}
                Activations::Blocks32 => (leaf.quantise_32)(x, &mut q.0, &mut q.1, &mut q.2),
                Activations::Blocks256 => (leaf.quantise_256)(x, &mut q.0, &mut q.1, &mut q.2),
            }
        }
        quantised.push(q);
    }
    let float = Activations::of(ty) == Activations::Float;
    let columns: Vec<Column> = (x.iter().zip(&quantised).zip(&mut out))
        .map(|((x, q), out)| Column {
            values: if float {
                x.as_ptr().cast()
            } else {
                q.0.as_ptr().cast()
            },
            scales: q.1.as_ptr(),
            sums: q.2.as_ptr(),
            out: out.as_mut_ptr(),
        })
        .collect();
    multiply(&columns);
    out
}

/// Products of a panel with quantised columns, by one leaf: `[columns][PANEL]`.
fn products(leaf: &Leaf, ty: TensorType, panel: &[u8], k: usize, x: &[Vec<f32>]) -> Vec<Vec<f32>> {
    with_columns(leaf, ty, k, x, &|columns| {
        // SAFETY: columns of `k` values with room for a panel; the machine has the instruction set.
        unsafe {
            match leaf.matmul(ty) {
                Some(kernel) => kernel(panel.as_ptr(), k, columns, 0),
                None => (leaf.decoded)(panel, ty, k, columns, 0),
            }
        }
    })
}

/// The same by the kernel for many columns, in two halves; `None` for types that have none.
fn products_of_many(
    leaf: &Leaf,
    ty: TensorType,
    panel: &[u8],
    k: usize,
    x: &[Vec<f32>],
) -> Option<Vec<Vec<f32>>> {
    let many = leaf.many(ty)?;
    Some(with_columns(leaf, ty, k, x, &|columns| {
        let parts = k.div_ceil(many::PART);
        for range in [0..parts / 2, parts / 2..parts] {
            // SAFETY: columns of `k` values with room for a panel; the machine has the
            // instruction set.
            unsafe { many(panel.as_ptr(), range, k, columns, 0) }
        }
    }))
}

fn bits(x: &[Vec<f32>]) -> Vec<u32> {
    x.iter().flatten().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn leaves_equal_the_reference(seed: u64, ty in 0..TensorType::ALL.len(), blocks in 1usize..4, n in 1usize..14) {
        let (ty, mut random) = (TensorType::ALL[ty], Random(seed));
        let k = blocks * if ty.block_len() == 1 { 32 } else { ty.block_len() as usize };
        let rows = random.blocks(ty, PANEL * k / ty.block_len() as usize);
        let layout = Layout::new(ty);
        let mut panel = vec![0; layout.panel_bytes(k)];
        layout.pack(&rows, k, &mut panel);
        let x: Vec<Vec<f32>> = (0..n).map(|_| (0..k).map(|_| random.float() * 3.0).collect()).collect();
        let scalar = Leaf::new(Isa::Scalar).unwrap();
        let expected = products(scalar, ty, &panel, k, &x);
        for isa in Isa::ALL {
            let Some(leaf) = leaf(isa) else { continue };
            prop_assert_eq!(bits(&products(leaf, ty, &panel, k, &x)), bits(&expected), "{} {}", ty, isa);
            if let Some(many) = products_of_many(leaf, ty, &panel, k, &x) {
                prop_assert_eq!(bits(&many), bits(&expected), "{} {} many", ty, isa);
            }
            // A column alone gives the bits that it gives among others.
            for (x, expected) in x.iter().zip(&expected) {
                let alone = products(leaf, ty, &panel, k, std::slice::from_ref(x));
                prop_assert_eq!(bits(&alone), bits(std::slice::from_ref(expected)), "{} {}", ty, isa);
            }
        }
        // The reference is near the exact product: activations are rounded to about 1 in 254.
        for r in 0..PANEL {
            let mut row = vec![0.0; k];
            layout.decode_row(&panel, r, k, &mut row);
            let mut original = vec![0.0; k];
            quant::decode(ty, &rows[r * layout.row_bytes(k)..][..layout.row_bytes(k)], &mut original).unwrap();
            prop_assert_eq!(&row, &original, "packing loses nothing");
            for (x, products) in x.iter().zip(&expected) {
                let exact: f64 = x.iter().zip(&row).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let size: f64 = row.iter().map(|b| f64::from(b.abs()) * 3.0 / 254.0).sum();
                prop_assert!((f64::from(products[r]) - exact).abs() <= size * 1.01 + 1e-4,
                    "{} row {}: {} for {}", ty, r, products[r], exact);
            }
        }
    }

    #[test]
    fn simple_kernels_equal_the_reference(seed: u64, n in 1usize..300, size in -3i32..6) {
        let mut random = Random(seed);
        let factor = 10f32.powi(size);
        let x: Vec<f32> = (0..n).map(|_| random.float() * factor).collect();
        let y: Vec<f32> = (0..n).map(|_| random.float() * factor).collect();
        let run = |leaf: &Leaf| {
            let (mut norm, mut silu, mut sum) = (vec![0.0; n], x.clone(), x.clone());
            let (mut gelu, mut capped, mut scaled) = (x.clone(), x.clone(), x.clone());
            let (mut layer, mut exact, mut tanh) = (x.clone(), x.clone(), x.clone());
            // SAFETY: this machine has the leaf's instruction set.
            unsafe {
                (leaf.rms_norm)(&x, &y, 1e-5, &mut norm);
                (leaf.silu_mul)(&mut silu, &y);
                (leaf.add_scaled)(&mut sum, &y, 0.3);
                (leaf.gelu_tanh_mul)(&mut gelu, &y);
                (leaf.soft_cap)(&mut capped, 3.0);
                (leaf.scale)(&mut scaled, 0.7);
                (leaf.layer_norm)(&mut layer, &y, &x, 1e-5);
                (leaf.gelu)(&mut exact);
                (leaf.tanh)(&mut tanh);
            }
            [norm, silu, sum, gelu, capped, scaled, layer, exact, tanh].concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let expected = run(Leaf::new(Isa::Scalar).unwrap());
        for isa in Isa::ALL {
            let Some(leaf) = leaf(isa) else { continue };
            prop_assert_eq!(&run(leaf), &expected, "{}", isa);
        }
    }
}

#[test]
fn the_hyperbolic_tangent_is_close() {
    use ingle_tensor::kernel::elementwise::tanh;
    let mut worst = 0.0f64;
    for i in -20_000..20_000 {
        let x = i as f32 / 1_000.0 + 0.0003;
        let exact = f64::from(x).tanh();
        worst = worst.max((f64::from(tanh(x)) - exact).abs() / exact.abs());
    }
    assert!(worst < 3e-7, "relative error {worst}");
    assert_eq!(tanh(0.0), 0.0);
    assert_eq!(tanh(1e-30), 1e-30);
    assert_eq!((tanh(1e30), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
    assert!(tanh(f32::NAN).is_nan());
}

#[test]
fn gelu_is_close() {
    use ingle_tensor::kernel::elementwise::gelu_tanh;
    for i in -12_000..12_000 {
        let x = i as f32 / 1_000.0 + 0.0003;
        let wide = f64::from(x);
        let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
        let exact = wide / (1.0 + (-2.0 * inner).exp());
        let error = (f64::from(gelu_tanh(x)) - exact).abs();
        assert!(error <= 1.5e-5 * exact.abs() + 1e-30, "{x}: {error}");
    }
    assert_eq!((gelu_tanh(0.0), gelu_tanh(1e20)), (0.0, 1e20));
    assert_eq!(gelu_tanh(-1e20), 0.0);
}

#[test]
fn the_exponential_is_close() {
    use ingle_tensor::kernel::elementwise::exp;
    let mut worst = 0.0f64;
    for i in -8_700..8_850 {
        let x = i as f32 / 100.0 + 0.003;
        let exact = f64::from(x).exp();
        if exact > 2e-38 {
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
    }
    assert!(worst < 2.5e-7, "relative error {worst}");
    assert_eq!(exp(0.0), 1.0);
    assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    assert!(exp(89.0).is_infinite());
}

#[test]
fn the_exact_gelu_is_close() {
    let mut worst = 0.0f64;
    for i in -10_000..10_000 {
        let x = i as f32 / 1_000.0;
        let mut found = [x];
        ingle_tensor::kernel::elementwise::gelu(&mut found);
        let wide = f64::from(x);
        let exact = wide * 0.5 * libm::erfc(-wide / std::f64::consts::SQRT_2);
        worst = worst.max((f64::from(found[0]) - exact).abs() / wide.abs().max(1.0));
    }
    assert!(worst < 2e-7, "error {worst}");
}

#[test]
fn the_largest_weights_and_activations_do_not_overflow() {
    // Weights and activations that are all the largest, of either sign: where a leaf adds in 16
    // bits, this is its worst case.
    let scalar = Leaf::new(Isa::Scalar).unwrap();
    for ty in TensorType::ALL.iter().copied() {
        if Activations::of(ty) == Activations::Float {
            continue;
        }
        for (byte, x) in [
            (0xff, 1.0),
            (0x80, 1.0),
            (0x7f, 1.0),
            (0xff, -1.0),
            (0x80, -1.0),
        ] {
            let mut rows = Random(1).blocks(ty, PANEL * 512 / ty.block_len() as usize);
            let scales: Vec<u8> = rows.clone();
            rows.fill(byte);
            let size = ty.block_bytes() as usize;
            for (block, scales) in rows.chunks_exact_mut(size).zip(scales.chunks_exact(size)) {
                for at in scale_places(ty) {
                    block[*at..at + 2].copy_from_slice(&scales[*at..at + 2]);
                }
            }
            let layout = Layout::new(ty);
            let mut panel = vec![0; layout.panel_bytes(512)];
            layout.pack(&rows, 512, &mut panel);
            let x = vec![vec![x; 512]; 9];
            let expected = bits(&products(scalar, ty, &panel, 512, &x));
            for isa in Isa::ALL {
                let Some(leaf) = leaf(isa) else { continue };
                assert_eq!(
                    bits(&products(leaf, ty, &panel, 512, &x)),
                    expected,
                    "{ty} {isa}"
                );
                if let Some(many) = products_of_many(leaf, ty, &panel, 512, &x) {
                    assert_eq!(bits(&many), expected, "{ty} {isa} many");
                }
            }
        }
    }
}
