//! The kernels: one meaning, several leaves.
//!
//! [`simd::Simd`] is the vector trait, [`scalar`] its meaning, [`x86_64`] its leaves; the
//! algorithms ([`matmul`], [`attention`]) are written once over the trait, the simple ones
//! ([`elementwise`], [`quantise`]) in plain Rust. A [`Leaf`] holds all of them compiled for one
//! instruction set; it is chosen once at start and can be forced.

#[cfg(target_arch = "aarch64")]
pub mod aarch64;
pub mod attention;
pub mod choice;
pub mod elementwise;
pub mod matmul;
pub mod peak;
pub mod quantise;
pub mod scalar;
pub mod simd;
pub mod twice;
#[cfg(target_arch = "x86_64")]
pub mod x86_64;

use ingle_formats::TensorType;
use matmul::many::{self, ManyFn};
use matmul::{Column, MatmulFn};
use std::ops::Range;

/// An instruction set for which the kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust: runs everywhere and is what the others are compared with.
    Scalar,
    /// NEON with dot products of bytes (ARMv8.2 and later).
    Neon,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX2 with AVX-VNNI.
    AvxVnni,
    /// AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same, with AMX (8-bit integers) for many columns.
    Amx,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Self; 6] = [
        Self::Scalar,
        Self::Neon,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Amx,
    ];

    /// The name by which it is forced.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// The instruction set of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Whether this processor and operating system can run it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => aarch64::neon::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86_64::avx2::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => x86_64::avx_vnni::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86_64::avx512::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => x86_64::amx::is_available(),
            _ => false,
        }
    }

    /// The fastest that runs here.
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .rev()
            .find(|isa| isa.is_available())
            .unwrap_or(Self::Scalar)
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `unsafe fn(values, quantised, scales, sums)`: see [`quantise`].
pub type QuantiseFn = unsafe fn(&[f32], &mut [i8], &mut [f32], &mut [i16]);

/// `unsafe fn(type, values, importance, blocks)`: see [`crate::quant::Encoder`].
type EncodeFn = unsafe fn(TensorType, &[f32], Option<&[f32]>, &mut [u8]);

/// Every kernel, compiled for one instruction set.
///
/// The functions are unsafe because the processor must have that instruction set; [`Leaf::new`]
/// has asked. What else each needs is said at the function of the same name in the module that it
/// comes from.
#[derive(Debug)]
#[allow(
    missing_docs,
    reason = "each field is the operation of its name in `Ops`"
)]
pub struct Leaf {
    isa: Isa,
    pub f32: MatmulFn,
    pub f16: MatmulFn,
    pub bf16: MatmulFn,
    pub q8_0: MatmulFn,
    pub q4_0: MatmulFn,
    pub q4_k: MatmulFn,
    pub q5_k: MatmulFn,
    pub q6_k: MatmulFn,
    pub q4_1: MatmulFn,
    pub q5_0: MatmulFn,
    pub q5_1: MatmulFn,
    pub iq4_nl: MatmulFn,
    pub mxfp4: MatmulFn,
    pub q2_k: MatmulFn,
    pub q3_k: MatmulFn,
    pub iq4_xs: MatmulFn,
    pub many_q8_0: ManyFn,
    pub many_q4_0: ManyFn,
    pub many_q4_k: ManyFn,
    pub many_q5_k: ManyFn,
    pub many_q6_k: ManyFn,
    pub many_q2_k: ManyFn,
    pub many_q3_k: ManyFn,
    pub decoded: unsafe fn(&[u8], TensorType, usize, &[Column], usize),
    pub quantise_32: QuantiseFn,
    pub quantise_256: QuantiseFn,
    pub rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    pub rms_norm_in_place: unsafe fn(&mut [f32], &[f32], f32),
    pub add: unsafe fn(&mut [f32], &[f32]),
    pub add_scaled: unsafe fn(&mut [f32], &[f32], f32),
    pub scale: unsafe fn(&mut [f32], f32),
    pub silu_mul: unsafe fn(&mut [f32], &[f32]),
    pub exponentials: unsafe fn(&mut [f32]) -> f32,
    pub layer_norm: unsafe fn(&mut [f32], &[f32], &[f32], f32),
    pub gelu: unsafe fn(&mut [f32]),
    pub tanh: unsafe fn(&mut [f32]),
    pub gelu_tanh_mul: unsafe fn(&mut [f32], &[f32]),
    pub soft_cap: unsafe fn(&mut [f32], f32),
    pub rope_halves: unsafe fn(&mut [f32], &[f32], &[f32]),
    pub rope_interleaved: unsafe fn(&mut [f32], &[f32], &[f32]),
    pub attend: unsafe fn(&attention::Job<'_>, &mut attention::Scratch),
    pub join_partials: unsafe fn(&[f32], usize, &mut [f32]),
    pub store: unsafe fn(&attention::Store),
    pub sum_bytes: unsafe fn(&[u8]) -> u64,
    pub products_i8: unsafe fn(usize) -> u64,
    pub products_f32: unsafe fn(usize) -> u64,
    encode: EncodeFn,
}

impl Leaf {
    /// The leaf of an instruction set, where this machine can run it.
    pub fn new(isa: Isa) -> Option<&'static Self> {
        if !isa.is_available() {
            return None;
        }
        // SAFETY: the processor has it.
        unsafe { Self::assumed(isa) }
    }

    /// The leaf of an instruction set, where this program has it; for tests that stand in for a
    /// processor.
    ///
    /// # Safety
    /// Its kernels may be called only where something runs their instructions.
    #[doc(hidden)]
    pub unsafe fn assumed(isa: Isa) -> Option<&'static Self> {
        match isa {
            Isa::Scalar => Some(&scalar_leaf::LEAF),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(&neon_leaf::LEAF),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(&avx2_leaf::LEAF),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => Some(&avx_vnni_leaf::LEAF),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(&avx512_leaf::LEAF),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Some(&amx_leaf::LEAF),
            _ => None,
        }
    }

    /// Which instruction set this is.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The kernel for panels of type `ty`; none where rows stay as they are in the file, which is what
    /// [`Leaf::decoded`] takes.
    #[inline]
    pub fn matmul(&self, ty: TensorType) -> Option<MatmulFn> {
        Some(match ty {
            TensorType::F32 => self.f32,
            TensorType::F16 => self.f16,
            TensorType::Bf16 => self.bf16,
            TensorType::Q8_0 => self.q8_0,
            TensorType::Q4_0 => self.q4_0,
            TensorType::Q4K => self.q4_k,
            TensorType::Q5K => self.q5_k,
            TensorType::Q6K => self.q6_k,
            TensorType::Q4_1 => self.q4_1,
            TensorType::Q5_0 => self.q5_0,
            TensorType::Q5_1 => self.q5_1,
            TensorType::Iq4Nl => self.iq4_nl,
            TensorType::Mxfp4 => self.mxfp4,
            TensorType::Q2K => self.q2_k,
            TensorType::Q3K => self.q3_k,
            TensorType::Iq4Xs => self.iq4_xs,
            _ => return None,
        })
    }

    /// Columns that are multiplied with some panels before others come.
    pub fn columns_together(&self) -> usize {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => x86_64::amx::COLUMNS,
            _ => many::COLUMNS,
        }
    }

    /// The kernel for many columns of panels of type `ty`, where it has one of its own.
    #[inline]
    pub fn many(&self, ty: TensorType) -> Option<ManyFn> {
        Some(match ty {
            TensorType::Q8_0 => self.many_q8_0,
            TensorType::Q4_0 => self.many_q4_0,
            TensorType::Q4K => self.many_q4_k,
            TensorType::Q5K => self.many_q5_k,
            TensorType::Q6K => self.many_q6_k,
            TensorType::Q2K => self.many_q2_k,
            TensorType::Q3K => self.many_q3_k,
            _ => return None,
        })
    }

    /// Writes blocks: see [`crate::quant::Encoder`], which checks lengths and values first.
    pub(crate) fn encode(
        &self,
        ty: TensorType,
        values: &[f32],
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) {
        // SAFETY: the processor has the leaf's features; the function has no other condition.
        unsafe { (self.encode)(ty, values, importance, out) }
    }
}

/// Compiles every kernel once more, for a vector type and the features that it needs.
macro_rules! leaf {
    ($module:ident, $isa:expr, $simd:ty $(, $features:literal)?) => {
        mod $module {
            use super::*;

            leaf!(@wrap $($features)?, matmul_f32(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::F32> });
            leaf!(@wrap $($features)?, matmul_f16(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::F16> });
            leaf!(@wrap $($features)?, matmul_bf16(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Bf16> });
            leaf!(@wrap $($features)?, matmul_q8_0(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q8_0> });
            leaf!(@wrap $($features)?, matmul_q4_0(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q4_0> });
            leaf!(@wrap $($features)?, matmul_q4_k(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q4K> });
            leaf!(@wrap $($features)?, matmul_q5_k(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q5K> });
            leaf!(@wrap $($features)?, matmul_q6_k(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q6K> });
            leaf!(@wrap $($features)?, matmul_q4_1(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q4_1> });
            leaf!(@wrap $($features)?, matmul_q5_0(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q5_0> });
            leaf!(@wrap $($features)?, matmul_q5_1(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q5_1> });
            leaf!(@wrap $($features)?, matmul_iq4_nl(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Iq4Nl> });
            leaf!(@wrap $($features)?, matmul_mxfp4(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Mxfp4> });
            leaf!(@wrap $($features)?, matmul_q2_k(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q2K> });
            leaf!(@wrap $($features)?, matmul_q3_k(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Q3K> });
            leaf!(@wrap $($features)?, matmul_iq4_xs(p: *const u8, k: usize, c: &[Column], o: usize) { matmul::matmul::<$simd, matmul::Iq4Xs> });
            leaf!(@wrap $($features)?, many_q8_0(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::blocks::<$simd, matmul::Q8_0> });
            leaf!(@wrap $($features)?, many_q4_0(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::blocks::<$simd, matmul::Q4_0> });
            leaf!(@wrap $($features)?, many_q4_k(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::super_blocks::<$simd, matmul::Q4K> });
            leaf!(@wrap $($features)?, many_q5_k(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::super_blocks::<$simd, matmul::Q5K> });
            leaf!(@wrap $($features)?, many_q6_k(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::super_blocks::<$simd, matmul::Q6K> });
            leaf!(@wrap $($features)?, many_q2_k(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::super_blocks::<$simd, matmul::Q2K> });
            leaf!(@wrap $($features)?, many_q3_k(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { many::super_blocks::<$simd, matmul::Q3K> });
            leaf!(@wrap $($features)?, decoded(p: &[u8], t: TensorType, k: usize, c: &[Column], o: usize) { matmul::decoded::<$simd> });
            leaf!(@wrap $($features)?, quantise_32(x: &[f32], q: &mut [i8], d: &mut [f32], s: &mut [i16]) { quantise::blocks_of_32 });
            leaf!(@wrap $($features)?, quantise_256(x: &[f32], q: &mut [i8], d: &mut [f32], s: &mut [i16]) { quantise::blocks_of_256 });
            leaf!(@wrap $($features)?, rms_norm(x: &[f32], w: &[f32], e: f32, o: &mut [f32]) { elementwise::rms_norm });
            leaf!(@wrap $($features)?, rms_norm_in_place(x: &mut [f32], w: &[f32], e: f32) { elementwise::rms_norm_in_place });
            leaf!(@wrap $($features)?, add(x: &mut [f32], y: &[f32]) { elementwise::add });
            leaf!(@wrap $($features)?, add_scaled(x: &mut [f32], y: &[f32], f: f32) { elementwise::add_scaled });
            leaf!(@wrap $($features)?, scale(x: &mut [f32], f: f32) { elementwise::scale });
            leaf!(@wrap $($features)?, silu_mul(g: &mut [f32], u: &[f32]) { elementwise::silu_mul });
            leaf!(@wrap $($features)?, exponentials(x: &mut [f32]) -> f32 { elementwise::exponentials });
            leaf!(@wrap $($features)?, layer_norm(x: &mut [f32], w: &[f32], b: &[f32], e: f32) { elementwise::layer_norm });
            leaf!(@wrap $($features)?, gelu(x: &mut [f32]) { elementwise::gelu });
            leaf!(@wrap $($features)?, tanh(x: &mut [f32]) { elementwise::tanh_all });
            leaf!(@wrap $($features)?, gelu_tanh_mul(g: &mut [f32], u: &[f32]) { elementwise::gelu_tanh_mul });
            leaf!(@wrap $($features)?, soft_cap(x: &mut [f32], c: f32) { elementwise::soft_cap });
            leaf!(@wrap $($features)?, rope_halves(h: &mut [f32], c: &[f32], s: &[f32]) { elementwise::rope_halves });
            leaf!(@wrap $($features)?, rope_interleaved(h: &mut [f32], c: &[f32], s: &[f32]) { elementwise::rope_interleaved });
            leaf!(@wrap $($features)?, attend(job: &attention::Job<'_>, s: &mut attention::Scratch) { attention::attend::<$simd> });
            leaf!(@wrap $($features)?, join_partials(p: &[f32], n: usize, o: &mut [f32]) { attention::join_partials });
            leaf!(@wrap $($features)?, store(s: &attention::Store) { attention::store::<$simd> });
            leaf!(@wrap $($features)?, sum_bytes(bytes: &[u8]) -> u64 { elementwise::sum_words::<$simd> });
            leaf!(@wrap $($features)?, products_i8(turns: usize) -> u64 { peak::products_i8::<$simd> });
            leaf!(@wrap $($features)?, products_f32(turns: usize) -> u64 { peak::products_f32::<$simd> });
            leaf!(@wrap $($features)?, encode(t: TensorType, x: &[f32], w: Option<&[f32]>, o: &mut [u8]) { crate::quant::encode_whole });

            pub static LEAF: Leaf = Leaf {
                isa: $isa,
                f32: matmul_f32,
                f16: matmul_f16,
                bf16: matmul_bf16,
                q8_0: matmul_q8_0,
                q4_0: matmul_q4_0,
                q4_k: matmul_q4_k,
                q5_k: matmul_q5_k,
                q6_k: matmul_q6_k,
                q4_1: matmul_q4_1,
                q5_0: matmul_q5_0,
                q5_1: matmul_q5_1,
                iq4_nl: matmul_iq4_nl,
                mxfp4: matmul_mxfp4,
                q2_k: matmul_q2_k,
                q3_k: matmul_q3_k,
                iq4_xs: matmul_iq4_xs,
                many_q8_0,
                many_q4_0,
                many_q4_k,
                many_q5_k,
                many_q6_k,
                many_q2_k,
                many_q3_k,
                decoded,
                quantise_32,
                quantise_256,
                rms_norm,
                rms_norm_in_place,
                add,
                add_scaled,
                scale,
                silu_mul,
                exponentials,
                layer_norm,
                gelu,
                tanh,
                gelu_tanh_mul,
                soft_cap,
                rope_halves,
                rope_interleaved,
                attend,
                join_partials,
                store,
                sum_bytes,
                products_i8,
                products_f32,
                encode,
            };
        }
    };
    (@wrap $($features:literal)?, $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ident)? { $body:path }) => {
        $(#[target_feature(enable = $features)])?
        #[allow(unused_unsafe, reason = "some of the wrapped functions are safe")]
        unsafe fn $name($($arg: $ty),*) $(-> $out)? {
            // SAFETY: the wrapper's contract is that of the function; its features are enabled.
            unsafe { $body($($arg),*) }
        }
    };
}

leaf!(scalar_leaf, Isa::Scalar, scalar::Scalar);
#[cfg(target_arch = "aarch64")]
leaf!(neon_leaf, Isa::Neon, aarch64::neon::Neon, "neon,dotprod");
#[cfg(target_arch = "x86_64")]
leaf!(avx2_leaf, Isa::Avx2, x86_64::avx2::Avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
leaf!(
    avx_vnni_leaf,
    Isa::AvxVnni,
    x86_64::avx_vnni::AvxVnni,
    "avxvnni,avx2,fma,f16c"
);
#[cfg(target_arch = "x86_64")]
leaf!(
    avx512_leaf,
    Isa::Avx512,
    x86_64::avx512::Avx512,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"
);

/// AVX-512 with kernels of AMX for many columns.
#[cfg(target_arch = "x86_64")]
mod amx_leaf {
    use super::*;
    use x86_64::amx;

    macro_rules! many {
        ($($name:ident: $kernel:ident::<$format:ident>;)*) => {
            $(leaf!(@wrap "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c", $name(p: *const u8, r: Range<usize>, k: usize, c: &[Column], o: usize) { amx::$kernel::<matmul::$format> });)*
            pub static LEAF: Leaf = Leaf { isa: Isa::Amx, $($name,)* ..avx512_leaf::LEAF };
        };
    }
    many! {
        many_q8_0: blocks::<Q8_0>;
        many_q4_0: blocks::<Q4_0>;
        many_q2_k: super_blocks::<Q2K>;
        many_q3_k: super_blocks::<Q3K>;
        many_q4_k: super_blocks::<Q4K>;
        many_q5_k: super_blocks::<Q5K>;
        many_q6_k: super_blocks::<Q6K>;
    }
}
