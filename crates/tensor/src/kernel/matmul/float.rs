//! F32, F16 and BF16 weights on f32 activations: `acc = fma(w, a, acc)`, k ascending.

use super::{Column, Format, PANEL};
use crate::kernel::simd::Simd;

/// 4 bytes a weight.
#[derive(Debug)]
pub enum F32 {}
/// IEEE half precision.
#[derive(Debug)]
pub enum F16 {}
/// bfloat16.
#[derive(Debug)]
pub enum Bf16 {}

macro_rules! format {
    ($name:ident, $bytes:literal, |$p:ident| $load:expr) => {
        impl Format for $name {
            #[inline(always)]
            unsafe fn tile<S: Simd, const N: usize>(
                panel: *const u8,
                k: usize,
                columns: &[Column; N],
                offset: usize,
            ) {
                // SAFETY: offsets stay inside the panel and the columns, as `matmul` requires.
                unsafe {
                    for part in 0..PANEL / S::LANES {
                        let lane = part * S::LANES;
                        let mut acc = [S::f_zero(); N];
                        for i in 0..k {
                            let $p = panel.add((i * PANEL + lane) * $bytes);
                            let w = $load;
                            for c in 0..N {
                                let a = S::f_splat(
                                    columns[c].values.cast::<f32>().add(i).read_unaligned(),
                                );
                                acc[c] = S::f_fma(w, a, acc[c]);
                            }
                        }
                        for c in 0..N {
                            S::f_store(columns[c].out.add(offset + lane), acc[c]);
                        }
                    }
                }
            }
        }
    };
}

format!(F32, 4, |p| S::f_load(p.cast()));
format!(F16, 2, |p| S::f_load_f16(p));
format!(Bf16, 2, |p| S::f_load_bf16(p));
