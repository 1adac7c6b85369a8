//! The AVX-VNNI leaf gives the bits of the scalar reference, also on a processor that lacks it: its
//! two instructions of dot products are then trapped and done here, on the saved registers.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "kernels, and a handler of illegal instructions")]

use ingle_formats::TensorType;
use ingle_tensor::kernel::matmul::{Activations, Column, PANEL};
use ingle_tensor::kernel::quantise::SUMS_256;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::pack::Layout;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Instructions that were done here.
static TRAPPED: AtomicUsize = AtomicUsize::new(0);

/// A 256-bit register.
type Ymm = [u8; 32];

/// Where the saved registers stand: general ones in the context, vectors in the area of XSAVE.
struct Saved<'a> {
    general: &'a mut [libc::greg_t; 23],
    area: *mut u8,
    /// Where the upper halves begin in the area (CPUID leaf 13, 2).
    upper: usize,
}

impl Saved<'_> {
    /// The general register of this number in an instruction.
    fn general(&self, number: u8) -> i64 {
        let places = [
            libc::REG_RAX,
            libc::REG_RCX,
            libc::REG_RDX,
            libc::REG_RBX,
            libc::REG_RSP,
            libc::REG_RBP,
            libc::REG_RSI,
            libc::REG_RDI,
        ];
        match number {
            0..8 => self.general[places[usize::from(number)] as usize],
            _ => self.general[libc::REG_R8 as usize + usize::from(number) - 8],
        }
    }

    /// The two halves of a vector register.
    fn halves(&self, number: u8) -> [*mut [u8; 16]; 2] {
        let number = usize::from(number) * 16;
        // SAFETY: the kernel saved sixteen registers at these places of the area.
        unsafe {
            let low = self.area.add(160 + number).cast();
            [low, self.area.add(self.upper + number).cast()]
        }
    }

    /// The components of the area that are not in their first state.
    fn in_use(&self) -> *mut u64 {
        // SAFETY: the header of the area.
        unsafe { self.area.add(512).cast() }
    }

    fn vector(&self, number: u8) -> Ymm {
        let [low, high] = self.halves(number);
        let mut out = [0; 32];
        // SAFETY: as in `halves`.
        unsafe {
            out[..16].copy_from_slice(&low.read_unaligned());
            if self.in_use().read_unaligned() & 4 != 0 {
                out[16..].copy_from_slice(&high.read_unaligned());
            }
        }
        out
    }

    fn set_vector(&mut self, number: u8, x: Ymm) {
        // SAFETY: as in `halves`. Upper halves that were not in use are all zero.
        unsafe {
            let in_use = self.in_use().read_unaligned();
            if in_use & 4 == 0 {
                (0..16).for_each(|i| self.halves(i)[1].write_unaligned([0; 16]));
            }
            self.in_use().write_unaligned(in_use | 6);
            let [low, high] = self.halves(number);
            low.write_unaligned(std::array::from_fn(|i| x[i]));
            high.write_unaligned(std::array::from_fn(|i| x[16 + i]));
        }
    }
}

/// The second source of an instruction.
enum Source {
    Register(u8),
    Memory(*const u8),
}

/// Reads `modrm` and what follows: register, second source, length.
///
/// # Safety
/// `at` is a valid operand; `next` is where the instruction after it would begin if the operand
/// had no length.
unsafe fn operand(
    saved: &Saved<'_>,
    at: *const u8,
    (r, x, b): (u8, u8, u8),
) -> (u8, Source, usize) {
    // SAFETY: the caller's operand.
    let byte = |i: usize| unsafe { at.add(i).read() };
    // SAFETY: the caller's operand.
    let wide = |i: usize| unsafe { at.add(i).cast::<i32>().read_unaligned() };
    let (mode, register, low) = (byte(0) >> 6, byte(0) >> 3 & 7 | r << 3, byte(0) & 7);
    if mode == 3 {
        return (register, Source::Register(low | b << 3), 1);
    }
    let mut len = 1;
    let mut address = 0i64;
    let mut base = Some(low | b << 3);
    if low == 4 {
        let sib = byte(1);
        len = 2;
        let index = sib >> 3 & 7 | x << 3;
        if index != 4 {
            address += saved.general(index) << (sib >> 6);
        }
        base = (mode != 0 || sib & 7 != 5).then_some(sib & 7 | b << 3);
    } else if mode == 0 && low == 5 {
        base = None;
        // From the next instruction on, which begins after these four bytes.
        address += at as i64 + 5;
    }
    let shift = match (mode, base) {
        (1, _) => i64::from(byte(len) as i8),
        (2, _) | (0, None) => i64::from(wide(len)),
        _ => 0,
    };
    len += match (mode, base) {
        (1, _) => 1,
        (2, _) | (0, None) => 4,
        _ => 0,
    };
    address += shift + base.map_or(0, |base| saved.general(base));
    (register, Source::Memory(address as *const u8), len)
}

/// Does the instruction at `at` if it is a 256-bit VPDPBUSD or VPDPWSSD: its length.
///
/// # Safety
/// `at` is what the processor refused to run.
unsafe fn run(saved: &mut Saved<'_>, at: *const u8) -> Option<usize> {
    // SAFETY: an instruction with this prefix has at least six bytes.
    let head: [u8; 4] = unsafe { at.cast::<[u8; 4]>().read_unaligned() };
    let [0xc4, one, two, code @ (0x50 | 0x52)] = head else {
        return None;
    };
    // Map 0F38; W 0, 256 bits, prefix 66.
    if one & 0x1f != 2 || two & 0x87 != 5 {
        return None;
    }
    let not = |bit: u8| !one >> bit & 1;
    // SAFETY: the operand follows.
    let (to, source, len) = unsafe { operand(saved, at.add(4), (not(7), not(6), not(5))) };
    let sum = saved.vector(to);
    let a = saved.vector(!two >> 3 & 15);
    let b = match source {
        Source::Register(number) => saved.vector(number),
        // SAFETY: the instruction would have read it.
        Source::Memory(p) => unsafe { p.cast::<Ymm>().read_unaligned() },
    };
    let mut out = [0; 32];
    for i in 0..8 {
        let four = |x: &Ymm| -> [u8; 4] { std::array::from_fn(|j| x[4 * i + j]) };
        let (a, b, sum) = (four(&a), four(&b), i32::from_le_bytes(four(&sum)));
        let dot: i32 = if code == 0x50 {
            (0..4)
                .map(|j| i32::from(a[j]) * i32::from(b[j] as i8))
                .sum()
        } else {
            let word =
                |x: [u8; 4], j: usize| i32::from(i16::from_le_bytes([x[2 * j], x[2 * j + 1]]));
            (0..2usize)
                .map(|j| word(a, j).wrapping_mul(word(b, j)))
                .fold(0, i32::wrapping_add)
        };
        out[4 * i..4 * i + 4].copy_from_slice(&sum.wrapping_add(dot).to_le_bytes());
    }
    saved.set_vector(to, out);
    Some(4 + len)
}

extern "C" fn on_illegal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's context of this signal.
    unsafe {
        let context = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        let at = context.gregs[libc::REG_RIP as usize] as *const u8;
        let mut saved = Saved {
            general: &mut context.gregs,
            area: context.fpregs.cast(),
            upper: std::arch::x86_64::__cpuid_count(13, 2).ebx as usize,
        };
        match run(&mut saved, at) {
            Some(len) => {
                context.gregs[libc::REG_RIP as usize] += len as i64;
                TRAPPED.fetch_add(1, Ordering::Relaxed);
            }
            // Anything else ends the process, as it would have.
            None => {
                libc::signal(libc::SIGILL, libc::SIG_DFL);
            }
        }
    }
}

fn trap() {
    // SAFETY: the handler keeps to what a handler may do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_illegal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()),
            0
        );
    }
}

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
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }
}

/// Bits of the products of one panel with two sets of columns, by one leaf.
fn products(leaf: &Leaf, ty: TensorType, panel: &[u8], k: usize, x: &[Vec<f32>]) -> Vec<u32> {
    let mut out = vec![[0.0f32; PANEL]; x.len()];
    let mut forms = Vec::new();
    for x in x {
        let mut form = (
            vec![0i8; k],
            vec![0.0; k / 32],
            vec![0i16; k / 256 * SUMS_256 + k / 32],
        );
        // SAFETY: the leaf runs here, with the handler's help.
        unsafe {
            match Activations::of(ty) {
                Activations::Float => {}
                Activations::Blocks32 => {
                    (leaf.quantise_32)(x, &mut form.0, &mut form.1, &mut form.2)
                }
                Activations::Blocks256 => {
                    (leaf.quantise_256)(x, &mut form.0, &mut form.1, &mut form.2)
                }
            }
        }
        forms.push(form);
    }
    let columns: Vec<Column> = (x.iter().zip(&forms).zip(&mut out))
        .map(|((x, form), out)| Column {
            values: match Activations::of(ty) {
                Activations::Float => x.as_ptr().cast(),
                _ => form.0.as_ptr().cast(),
            },
            scales: form.1.as_ptr(),
            sums: form.2.as_ptr(),
            out: out.as_mut_ptr(),
        })
        .collect();
    if let Some(kernel) = leaf.matmul(ty) {
        // SAFETY: columns of `k` values with room for a panel.
        unsafe { kernel(panel.as_ptr(), k, &columns, 0) }
    }
    out.iter().flatten().map(|x| x.to_bits()).collect()
}

#[test]
fn the_leaf_equals_the_reference() {
    if !Isa::Avx2.is_available() {
        println!("skipped: this machine has no avx2");
        return;
    }
    trap();
    let scalar = Leaf::new(Isa::Scalar).unwrap();
    // SAFETY: what of it this machine lacks is trapped.
    let leaf = unsafe { Leaf::assumed(Isa::AvxVnni) }.unwrap();
    let mut random = Random(7);
    for ty in TensorType::ALL
        .iter()
        .copied()
        .filter(|ty| scalar.matmul(*ty).is_some())
    {
        for blocks in [1, 3] {
            let len = ty.block_len() as usize;
            let k = blocks * len.max(32);
            let size = ty.block_bytes() as usize;
            // Finite scales: no byte of the upper half of a 16-bit float above 0x3f.
            let rows: Vec<u8> = (0..PANEL * k / len * size)
                .map(|_| random.next() as u8 & 0xbf)
                .collect();
            let layout = Layout::new(ty);
            let mut panel = vec![0; layout.panel_bytes(k)];
            layout.pack(&rows, k, &mut panel);
            let x: Vec<Vec<f32>> = (0..7)
                .map(|_| (0..k).map(|_| random.float()).collect())
                .collect();
            let (found, expected) = (
                products(leaf, ty, &panel, k, &x),
                products(scalar, ty, &panel, k, &x),
            );
            assert_eq!(found, expected, "{ty}, {k} columns");
        }
    }
    let trapped = TRAPPED.load(Ordering::Relaxed);
    println!("{trapped} instructions were trapped");
    assert_eq!(trapped == 0, Isa::AvxVnni.is_available());
}
