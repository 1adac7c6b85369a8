//! The AMX leaf gives the bits of the scalar reference. Where a processor lacks the unit, its
//! instructions are trapped and done here on tiles of our own: the machine code that runs is the
//! true one, and only its speed is not.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "kernels, and a handler of illegal instructions")]

use ingle_formats::TensorType;
use ingle_tensor::kernel::matmul::{Activations, Column, PANEL, many};
use ingle_tensor::kernel::quantise::SUMS_256;
use ingle_tensor::kernel::{Isa, Leaf};
use ingle_tensor::pack::Layout;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Instructions that were done here.
static TRAPPED: AtomicUsize = AtomicUsize::new(0);

/// The unit's state.
struct Unit {
    configured: bool,
    /// Rows, and bytes of a row, of each tile.
    shapes: [(usize, usize); 8],
    tiles: [[[u8; 64]; 16]; 8],
}

struct Shared(UnsafeCell<Unit>);
// SAFETY: one test runs in this file, on one thread.
unsafe impl Sync for Shared {}

static UNIT: Shared = Shared(UnsafeCell::new(Unit {
    configured: false,
    shapes: [(0, 0); 8],
    tiles: [[[0; 64]; 16]; 8],
}));

/// The general register of this number in an instruction.
fn general(saved: &[libc::greg_t; 23], number: u8) -> i64 {
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
        0..8 => saved[places[usize::from(number)] as usize],
        _ => saved[libc::REG_R8 as usize + usize::from(number) - 8],
    }
}

/// A memory operand: address, what the index register adds to it, and the operand's length.
///
/// # Safety
/// `at` is the operand, from its ModRM byte on.
unsafe fn operand(saved: &[libc::greg_t; 23], at: *const u8, x: u8, b: u8) -> (i64, i64, usize) {
    // SAFETY: the caller's operand.
    let byte = |i: usize| unsafe { at.add(i).read() };
    let (mode, low) = (byte(0) >> 6, byte(0) & 7);
    let (mut len, mut base, mut index) = (1, Some(low | b << 3), 0);
    if low == 4 {
        let sib = byte(1);
        len = 2;
        let number = sib >> 3 & 7 | x << 3;
        if number != 4 {
            index = general(saved, number) << (sib >> 6);
        }
        base = (mode != 0 || sib & 7 != 5).then_some(sib & 7 | b << 3);
    } else if mode == 0 && low == 5 {
        base = None;
    }
    // SAFETY: the caller's operand.
    let wide = || i64::from(unsafe { at.add(len).cast::<i32>().read_unaligned() });
    let (shift, more) = match (mode, base) {
        (1, _) => (i64::from(byte(len) as i8), 1),
        (2, _) | (0, None) => (wide(), 4),
        _ => (0, 0),
    };
    // Relative to the next instruction, which begins after these four bytes.
    let relative = if low == 5 && mode == 0 {
        at as i64 + 5
    } else {
        0
    };
    let address = shift + relative + base.map_or(0, |base| general(saved, base));
    (address, index, len + more)
}

impl Unit {
    /// LDTILECFG; `None` for what the processor would refuse.
    ///
    /// # Safety
    /// 64 bytes stand at `from`.
    unsafe fn configure(&mut self, from: *const u8) -> Option<()> {
        // SAFETY: the caller's bytes.
        let bytes: [u8; 64] = unsafe { from.cast::<[u8; 64]>().read_unaligned() };
        let zero = bytes[2..16]
            .iter()
            .chain(&bytes[32..48])
            .chain(&bytes[56..]);
        if bytes[0] != 1 || bytes[1] != 0 || zero.into_iter().any(|b| *b != 0) {
            return None;
        }
        for (i, shape) in self.shapes.iter_mut().enumerate() {
            let row = usize::from(u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]]));
            *shape = (usize::from(bytes[48 + i]), row);
            if shape.0 > 16 || row > 64 {
                return None;
            }
        }
        self.configured = true;
        self.tiles = [[[0; 64]; 16]; 8];
        Some(())
    }

    /// TDPB**D: adds products of bytes, signed or not.
    fn multiply(&mut self, c: usize, a: usize, b: usize, signed: (bool, bool)) -> Option<()> {
        let ((rows, row), (depth, width)) = (self.shapes[a], self.shapes[b]);
        let fits = self.shapes[c] == (rows, width) && row == depth * 4;
        if !self.configured || !fits || c == a || c == b || a == b {
            return None;
        }
        let wide = |byte: u8, signed: bool| match signed {
            true => i32::from(byte as i8),
            false => i32::from(byte),
        };
        for m in 0..rows {
            for n in 0..width / 4 {
                let at = 4 * n..4 * n + 4;
                let mut sum = i32::from_le_bytes(self.tiles[c][m][at.clone()].try_into().ok()?);
                for k in 0..depth {
                    for i in 0..4 {
                        let x = wide(self.tiles[a][m][4 * k + i], signed.0);
                        let w = wide(self.tiles[b][k][4 * n + i], signed.1);
                        sum = sum.wrapping_add(x * w);
                    }
                }
                self.tiles[c][m][at].copy_from_slice(&sum.to_le_bytes());
            }
        }
        Some(())
    }

    /// Does the instruction at `at` if it is one of the unit's: its length.
    ///
    /// # Safety
    /// `at` is what the processor refused to run.
    unsafe fn run(&mut self, saved: &[libc::greg_t; 23], at: *const u8) -> Option<usize> {
        // SAFETY: an instruction with this prefix has at least five bytes.
        let [0xc4, one, two, code, modrm] = (unsafe { at.cast::<[u8; 5]>().read_unaligned() })
        else {
            return None;
        };
        // Map 0F38; W 0, 128 bits.
        if one & 0x1f != 2 || two & 0x84 != 0 {
            return None;
        }
        let not = |bit: u8| !one >> bit & 1;
        let (prefix, third) = (two & 3, usize::from(!two >> 3 & 15));
        let (tile, other) = (usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
        // SAFETY: the operand follows.
        let operand = || unsafe { operand(saved, at.add(4), not(6), not(5)) };
        match (code, modrm >> 6 == 3, prefix) {
            (0x49, false, 0) if tile == 0 => {
                let (address, index, len) = operand();
                // SAFETY: the instruction would have read it.
                unsafe { self.configure((address + index) as *const u8)? };
                Some(4 + len)
            }
            (0x49, true, 0) if modrm == 0xc0 => {
                self.configured = false;
                Some(5)
            }
            (0x49, true, 3) if self.configured => {
                self.tiles[tile] = [[0; 64]; 16];
                Some(5)
            }
            (0x4b, false, 2 | 3) if self.configured => {
                let (address, stride, len) = operand();
                let (rows, row) = self.shapes[tile];
                let mut loaded = [[0; 64]; 16];
                for (r, loaded) in loaded.iter_mut().take(rows).enumerate() {
                    let place = (address + r as i64 * stride) as *mut u8;
                    // SAFETY: the instruction would have read or written it.
                    unsafe {
                        match prefix {
                            3 => place.copy_to(loaded.as_mut_ptr(), row),
                            _ => place.copy_from(self.tiles[tile][r].as_ptr(), row),
                        }
                    }
                }
                if prefix == 3 {
                    self.tiles[tile] = loaded;
                }
                Some(4 + len)
            }
            (0x5e, true, _) => {
                let signed = [(false, false), (false, true), (true, false), (true, true)];
                self.multiply(tile, other, third, signed[usize::from(prefix)])?;
                Some(5)
            }
            _ => None,
        }
    }
}

extern "C" fn on_illegal(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's context of this signal; nobody else uses the unit meanwhile.
    unsafe {
        let context = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        let at = context.gregs[libc::REG_RIP as usize] as *const u8;
        match (*UNIT.0.get()).run(&context.gregs, at) {
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
        let done = libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut());
        assert_eq!(done, 0);
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
}

/// Quantised rows of activations, `stride` bytes apart.
struct Rows {
    stride: usize,
    values: Vec<i8>,
    scales: Vec<Vec<f32>>,
    sums: Vec<Vec<i16>>,
}

impl Rows {
    fn new(scalar: &Leaf, ty: TensorType, k: usize, n: usize, random: &mut Random) -> Self {
        let stride = k + 64;
        let mut out = Self {
            stride,
            values: vec![0; n * stride],
            scales: vec![vec![0.0; k / 32]; n],
            sums: vec![vec![0; k / 256 * SUMS_256 + k / 32]; n],
        };
        for i in 0..n {
            // The first row is all the largest: the worst case of every sum.
            let x = |random: &mut Random| match i {
                0 => 1.0,
                _ => random.next() as f32 / (1u64 << 30) as f32 - 1.0,
            };
            let x: Vec<f32> = (0..k).map(|_| x(random)).collect();
            let values = &mut out.values[i * stride..][..k];
            let quantise = match Activations::of(ty) {
                Activations::Blocks32 => scalar.quantise_32,
                _ => scalar.quantise_256,
            };
            // SAFETY: the scalar leaf runs everywhere.
            unsafe { quantise(&x, values, &mut out.scales[i], &mut out.sums[i]) }
        }
        out
    }

    /// Bits of what `multiply` writes for these rows of activations.
    fn products(&self, rows: &[usize], multiply: &dyn Fn(&[Column])) -> Vec<u32> {
        let mut out = vec![[f32::NAN; PANEL]; rows.len()];
        let columns: Vec<Column> = (rows.iter().zip(&mut out))
            .map(|(&i, out)| Column {
                values: self.values[i * self.stride..].as_ptr().cast(),
                scales: self.scales[i].as_ptr(),
                sums: self.sums[i].as_ptr(),
                out: out.as_mut_ptr(),
            })
            .collect();
        multiply(&columns);
        out.iter().flatten().map(|x| x.to_bits()).collect()
    }
}

/// A panel of random blocks with finite scales: no byte above 0xbf.
fn panel(ty: TensorType, k: usize, random: &mut Random) -> Vec<u8> {
    let bytes = PANEL * k / ty.block_len() as usize * ty.block_bytes() as usize;
    let rows: Vec<u8> = (0..bytes).map(|_| random.next() as u8 & 0xbf).collect();
    let layout = Layout::new(ty);
    let mut panel = vec![0; layout.panel_bytes(k)];
    layout.pack(&rows, k, &mut panel);
    panel
}

#[test]
fn the_leaf_equals_the_reference() {
    if !Isa::Avx512.is_available() {
        println!("skipped: this machine has no avx512");
        return;
    }
    let here = Isa::Amx.is_available();
    assert_eq!(Leaf::new(Isa::Amx).is_some(), here);
    if !here {
        trap();
    }
    let scalar = Leaf::new(Isa::Scalar).unwrap();
    // SAFETY: what of it this machine lacks is trapped.
    let leaf = unsafe { Leaf::assumed(Isa::Amx) }.unwrap();
    let mut random = Random(7);
    let mut types = 0;
    for ty in TensorType::ALL.iter().copied() {
        let Some(kernel) = leaf.many(ty) else {
            continue;
        };
        types += 1;
        let before = TRAPPED.load(Ordering::Relaxed);
        let k = if ty.block_len() == 32 { 576 } else { 768 };
        let panel = panel(ty, k, &mut random);
        let activations = Rows::new(scalar, ty, k, 520, &mut random);
        // A few, whole tiles and not, more than a block of columns; evenly apart and not.
        let mut cases: Vec<Vec<usize>> = [1, 15, 16, 17, 32, 50, 520]
            .map(|n| (0..n).collect())
            .into();
        cases.push((0..20).map(|i| i * i).collect());
        cases.push((0..16).rev().collect());
        for rows in cases {
            let expected = activations.products(&rows, &|columns| {
                // SAFETY: columns of `k` values with room for a panel.
                unsafe { scalar.matmul(ty).unwrap()(panel.as_ptr(), k, columns, 0) }
            });
            let parts = k.div_ceil(many::PART);
            for first in [0, 1] {
                let found = activations.products(&rows, &|columns| {
                    for range in [0..first, first..parts] {
                        // SAFETY: as above; the unit's instructions are trapped.
                        unsafe { kernel(panel.as_ptr(), range, k, columns, 0) }
                    }
                });
                assert!(found == expected, "{ty}, {} columns", rows.len());
            }
        }
        let trapped = TRAPPED.load(Ordering::Relaxed) > before;
        assert_eq!(trapped, !here, "{ty}");
    }
    assert!(types >= 7, "{types} types");
    println!(
        "{} instructions were trapped",
        TRAPPED.load(Ordering::Relaxed)
    );
    // SAFETY: the kernels are done.
    let released = unsafe { !(*UNIT.0.get()).configured };
    assert!(released, "a kernel released the unit");
}

#[test]
fn what_the_system_does_not_name_is_never_used() {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = text.lines().find(|line| line.starts_with("flags"));
    let named = flags.unwrap_or_default().split_whitespace();
    if !named.into_iter().any(|flag| flag == "amx_int8") {
        assert!(!Isa::Amx.is_available());
        assert!(Leaf::new(Isa::Amx).is_none());
        assert_ne!(Isa::best(), Isa::Amx);
    }
}
