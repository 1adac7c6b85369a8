//! The plan of a model whose weights stay on disk in part: what is held, what is cached, and how large
//! batches are.

use crate::memory::pages_for;
use crate::plan::{LoadOptions, Plan, PlanError};
use ingle_formats::gguf::Metadata;
use ingle_model::{MixtureNeeds, Needs};
use ingle_tensor::WeightSource;
use ingle_tensor::cpu::OnDisk;
use ingle_tensor::ops::{Ops, PAGE_LEN};

/// Memory in which experts arrive that are read while they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadBuffers {
    /// Bytes of reads in flight.
    pub in_flight: u64,
    /// Experts that have come, or are about to, and are not in the cache yet.
    pub requests: u64,
}

impl ReadBuffers {
    /// What a request takes beyond its bytes, because reads begin and end at multiples of a page.
    const SLACK: u64 = 64 << 10;

    /// Bytes, for experts of `largest` bytes in the file.
    fn bytes(self, largest: u64) -> u64 {
        let each = largest.saturating_add(Self::SLACK);
        self.in_flight
            .saturating_add(self.requests.saturating_mul(each))
    }
}

/// What a model takes some of whose weights are read while they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPlan {
    /// Which ones.
    pub on_disk: OnDisk,
    /// Bytes of the weights that are held.
    pub resident_bytes: u64,
    /// Bytes of the cache.
    pub cache_bytes: u64,
    /// Bytes of all that is on disk, packed as it is in the cache.
    pub streamed_bytes: u64,
    /// Bytes in the file of the largest that is read at once.
    pub largest_read: u64,
    /// Bytes of buffers for reads.
    pub read_bytes: u64,
    /// Bytes of the process itself.
    pub process_bytes: u64,
    /// Experts of all layers; 0 in a model that has none.
    pub n_experts: u64,
    /// Experts that a token needs, of all layers.
    pub per_token: u64,
    /// Bytes in the file of what a token needs of that which is on disk.
    pub token_bytes: u64,
}

impl StreamPlan {
    /// The program, its stacks and what its allocator holds back: measured at about 20 MiB.
    const PROCESS: u64 = 28 << 20;

    fn new(needs: &Needs, buffers: ReadBuffers, on_disk: OnDisk) -> Self {
        let experts = needs.experts().map(|e| e.file_bytes);
        let mean = |m: &MixtureNeeds| {
            let all: u64 = m.experts.iter().map(|e| e.file_bytes).sum();
            all / m.experts.len().max(1) as u64
        };
        let top = |m: &MixtureNeeds| m.top_k.min(m.experts.len()) as u64;
        let chosen: u64 = needs.mixtures.iter().map(|m| top(m) * mean(m)).sum();
        let held = needs.resident_bytes();
        let (resident_bytes, largest, token_bytes) = match on_disk {
            OnDisk::Experts => (held, experts.max().unwrap_or(0), chosen),
            OnDisk::All => {
                let part = experts.max().unwrap_or(0).max(LARGEST_PART);
                let matrices = held.saturating_sub(needs.vector_bytes);
                (needs.vector_bytes, part, chosen.saturating_add(matrices))
            }
        };
        let on_disk_bytes = needs.weight_bytes.saturating_sub(needs.table_bytes);
        Self {
            on_disk,
            resident_bytes,
            cache_bytes: 0,
            streamed_bytes: on_disk_bytes.saturating_sub(resident_bytes),
            largest_read: largest,
            read_bytes: buffers.bytes(largest),
            process_bytes: Self::PROCESS,
            n_experts: needs.experts().count() as u64,
            per_token: needs.mixtures.iter().map(top).sum(),
            token_bytes,
        }
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> u64 {
        let parts = [
            self.resident_bytes,
            self.cache_bytes,
            self.read_bytes,
            self.process_bytes,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Share of what is on disk that the cache holds.
    pub fn cached_share(&self) -> f64 {
        self.cache_bytes as f64 / self.streamed_bytes.max(1) as f64
    }
}

/// Rows of the largest batch that is tried first: a prompt of so many tokens reads each expert once.
const MOST_ROWS: u32 = 4096;
/// And those that are tried last.
const FEWEST_ROWS: u32 = 16;
/// Batches and sequences each get at most one part in so many of what the cache would have without
/// them, unless more was asked for.
const PART: u64 = 8;

/// The largest part of a matrix that is read at once, about; and what a cache of such parts has at least:
/// one of each kind, and those that are read ahead.
const LARGEST_PART: u64 = 4 << 20;
const SMALLEST_PARTS: u64 = 96 << 20;

/// Plans a load whose weights stay on disk: the experts, or all where the others do not fit either.
pub(crate) fn plan<O: Ops + 'static>(
    metadata: &Metadata,
    source: &dyn WeightSource,
    ops: &O,
    options: &LoadOptions,
    buffers: ReadBuffers,
    free: u64,
) -> Result<Plan, PlanError> {
    let with = |on_disk| plan_with(metadata, source, ops, options, (buffers, on_disk), free);
    let refused = match with(OnDisk::Experts) {
        Err(PlanError::Budget {
            resident, smallest, ..
        }) => (smallest, resident),
        planned => return planned,
    };
    match with(OnDisk::All) {
        Err(PlanError::Budget {
            resident, smallest, ..
        }) => {
            let (smallest, resident) = refused.min((smallest, resident));
            // A small model takes less when it is held as a whole.
            let mut whole = Plan::measured(metadata, source, ops, options.clone(), free)?;
            if whole.fixed().saturating_add(whole.page_bytes()) < smallest {
                return whole.choose_context().map(|()| whole);
            }
            Err(PlanError::Budget {
                resident,
                smallest,
                free,
            })
        }
        planned => planned,
    }
}

fn plan_with<O: Ops + 'static>(
    metadata: &Metadata,
    source: &dyn WeightSource,
    ops: &O,
    options: &LoadOptions,
    (buffers, on_disk): (ReadBuffers, OnDisk),
    free: u64,
) -> Result<Plan, PlanError> {
    let fewest = FEWEST_ROWS.max(options.max_sequences);
    let most = MOST_ROWS.max(options.max_batch_rows);
    let (mut rows, mut max_guesses) = (most, options.max_guesses);
    loop {
        let options = LoadOptions {
            max_batch_rows: rows,
            max_guesses,
            ..options.clone()
        };
        let mut plan = Plan::measured(metadata, source, ops, options, free)?;
        plan.streamed = Some(StreamPlan::new(&plan.needs, buffers, on_disk));
        let fewer = rows / 2 >= fewest;
        let last = !fewer && plan.options.max_guesses == 0;
        if share_out(&mut plan, last)? {
            return Ok(plan);
        }
        // The logits of guesses go last: they take as much as a batch, and change speed alone.
        match fewer {
            true => rows /= 2,
            false => max_guesses = 0,
        }
    }
}

/// Divides what is left among sequences and cache. False where the batch takes too large a part.
fn share_out(plan: &mut Plan, last: bool) -> Result<bool, PlanError> {
    let Some(streamed) = plan.streamed else {
        return Ok(true);
    };
    let page = plan.page_bytes().max(1);
    let smallest_cache = smallest_cache(&plan.needs, &streamed);
    let smallest = plan
        .fixed()
        .saturating_add(smallest_cache)
        .saturating_add(page);
    let Some(left) = plan.free.checked_sub(plan.fixed()) else {
        return if last {
            Err(too_small(plan, smallest))
        } else {
            Ok(false)
        };
    };
    let too_large = plan.buffer_bytes > left.saturating_add(plan.buffer_bytes) / PART;
    if !last && too_large {
        return Ok(false);
    }
    let default = plan.default_context();
    let context = match plan.options.context {
        Some(context) => context,
        None => {
            let pages = (left / PART / page).max(1);
            default.min(u32::try_from(pages * PAGE_LEN as u64).unwrap_or(default))
        }
    };
    let sequences = pages_for(u64::from(context)).saturating_mul(page);
    let sequences = match plan.options.contexts {
        Some(_) => sequences,
        None => sequences.saturating_mul(u64::from(plan.options.max_sequences)),
    };
    if left < sequences.saturating_add(smallest_cache) {
        let smallest = plan.fixed() + sequences.saturating_add(smallest_cache);
        return if last {
            Err(too_small(plan, smallest))
        } else {
            Ok(false)
        };
    }
    // Sequences may have more than one context, if that leaves enough for the cache.
    let room = (left / PART).max(sequences).min(left - smallest_cache);
    plan.set_context_within(context, room);
    let cache_bytes = left - plan.sequence_bytes;
    plan.streamed = Some(StreamPlan {
        cache_bytes: cache_bytes.min(streamed.streamed_bytes),
        ..streamed
    });
    plan.warn_of_context(context, default);
    Ok(true)
}

/// Room for the experts of one row of the widest layer, and as many that come meanwhile.
fn smallest_cache(needs: &Needs, streamed: &StreamPlan) -> u64 {
    let of = |m: &MixtureNeeds| {
        let largest = m.experts.iter().map(|e| e.packed_bytes).max().unwrap_or(0);
        largest.saturating_mul(2 * m.top_k as u64)
    };
    let experts = needs.mixtures.iter().map(of).max().unwrap_or(0);
    match streamed.on_disk {
        OnDisk::Experts => experts,
        OnDisk::All => experts.saturating_add(SMALLEST_PARTS.min(streamed.streamed_bytes)),
    }
}

fn too_small(plan: &Plan, smallest: u64) -> PlanError {
    PlanError::Budget {
        resident: plan.streamed.map_or(0, |s| s.resident_bytes),
        smallest,
        free: plan.free,
    }
}
