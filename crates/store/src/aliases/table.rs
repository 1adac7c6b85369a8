//! The table. Sizes with `exact` were read from two independent lists of what the hub says of the file
//! (2026); the others are `about` right, and `ingle pull` asks the hub before it downloads anything.

use super::{Alias, Use};

const APACHE: &str = "Apache-2.0";
const MIT: &str = "MIT";
const LLAMA: &str = "Llama community";
const GEMMA: &str = "Gemma terms";
const QWEN: &str = "Qwen research";

/// What a family's name alone means: the size that most people's machines run.
pub const LATEST: &[(&str, &str)] = &[
    ("qwen3", "qwen3:8b"),
    ("qwen3-embedding", "qwen3-embedding:0.6b"),
    ("qwen3-reranker", "qwen3-reranker:0.6b"),
    ("qwen2.5", "qwen2.5:7b"),
    ("qwen2.5-coder", "qwen2.5-coder:7b"),
    ("llama3.1", "llama3.1:8b"),
    ("llama3.2", "llama3.2:3b"),
    ("llama3.3", "llama3.3:70b"),
    ("mistral", "mistral:7b"),
    ("mistral-nemo", "mistral-nemo:12b"),
    ("mixtral", "mixtral:8x7b"),
    ("gemma2", "gemma2:9b"),
    ("gemma3", "gemma3:4b"),
    ("phi3", "phi3:3.8b"),
    ("phi3.5", "phi3.5:3.8b"),
    ("phi4", "phi4:14b"),
    ("phi4-mini", "phi4-mini:3.8b"),
    ("smollm2", "smollm2:1.7b"),
    ("tinyllama", "tinyllama:1.1b"),
    ("deepseek-r1", "deepseek-r1:7b"),
    ("nomic-embed-text", "nomic-embed-text:v1.5"),
    ("bge-m3", "bge-m3:567m"),
    ("all-minilm", "all-minilm:22m"),
    ("mxbai-embed-large", "mxbai-embed-large:335m"),
    ("bge-reranker-v2-m3", "bge-reranker-v2-m3:568m"),
];

/// Bytes, and whether they were checked.
type Size = (u64, bool);

const fn exact(bytes: u64) -> Size {
    (bytes, true)
}

const fn about(bytes: u64) -> Size {
    (bytes, false)
}

const fn row(
    (name, purpose): (&'static str, Use),
    (repo, file): (&'static str, &'static str),
    (bytes, exact): Size,
    context: u32,
    licence: &'static str,
) -> Alias {
    Alias {
        name,
        purpose,
        repo,
        file,
        bytes,
        exact,
        context,
        licence,
    }
}

use Use::{Chat, Code, Embedding, Reasoning, Reranker};

/// One line a model.
#[rustfmt::skip]
pub const ALIASES: &[Alias] = &[
    row(("qwen3:0.6b", Chat), ("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf"), exact(639_446_688), 40_960, APACHE),
    row(("qwen3:1.7b", Chat), ("Qwen/Qwen3-1.7B-GGUF", "Qwen3-1.7B-Q8_0.gguf"), exact(1_834_426_016), 40_960, APACHE),
    row(("qwen3:4b", Chat), ("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf"), exact(2_497_280_256), 40_960, APACHE),
    row(("qwen3:8b", Chat), ("Qwen/Qwen3-8B-GGUF", "Qwen3-8B-Q4_K_M.gguf"), exact(5_027_783_488), 40_960, APACHE),
    row(("qwen3:14b", Chat), ("Qwen/Qwen3-14B-GGUF", "Qwen3-14B-Q4_K_M.gguf"), about(9_001_752_960), 40_960, APACHE),
    row(("qwen3:32b", Chat), ("Qwen/Qwen3-32B-GGUF", "Qwen3-32B-Q4_K_M.gguf"), about(19_762_149_024), 40_960, APACHE),
    row(("qwen3:30b-a3b", Chat), ("Qwen/Qwen3-30B-A3B-GGUF", "Qwen3-30B-A3B-Q4_K_M.gguf"), about(18_556_685_824), 40_960, APACHE),
    row(("qwen3-embedding:0.6b", Embedding), ("Qwen/Qwen3-Embedding-0.6B-GGUF", "Qwen3-Embedding-0.6B-Q8_0.gguf"), exact(639_150_592), 32_768, APACHE),
    row(("qwen3-embedding:4b", Embedding), ("Qwen/Qwen3-Embedding-4B-GGUF", "Qwen3-Embedding-4B-Q4_K_M.gguf"), about(2_496_000_000), 40_960, APACHE),
    row(("qwen3-embedding:8b", Embedding), ("Qwen/Qwen3-Embedding-8B-GGUF", "Qwen3-Embedding-8B-Q4_K_M.gguf"), about(4_680_000_000), 40_960, APACHE),
    row(("qwen3-reranker:0.6b", Reranker), ("ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF", "qwen3-reranker-0.6b-q8_0.gguf"), about(639_000_000), 40_960, APACHE),
    row(("qwen2.5:0.5b", Chat), ("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "qwen2.5-0.5b-instruct-q4_k_m.gguf"), exact(491_400_032), 32_768, APACHE),
    row(("qwen2.5:1.5b", Chat), ("Qwen/Qwen2.5-1.5B-Instruct-GGUF", "qwen2.5-1.5b-instruct-q4_k_m.gguf"), exact(1_117_320_736), 32_768, APACHE),
    row(("qwen2.5:3b", Chat), ("Qwen/Qwen2.5-3B-Instruct-GGUF", "qwen2.5-3b-instruct-q4_k_m.gguf"), exact(2_104_932_768), 32_768, QWEN),
    row(("qwen2.5:7b", Chat), ("bartowski/Qwen2.5-7B-Instruct-GGUF", "Qwen2.5-7B-Instruct-Q4_K_M.gguf"), exact(4_683_074_240), 32_768, APACHE),
    row(("qwen2.5:14b", Chat), ("bartowski/Qwen2.5-14B-Instruct-GGUF", "Qwen2.5-14B-Instruct-Q4_K_M.gguf"), exact(8_988_110_976), 32_768, APACHE),
    row(("qwen2.5:32b", Chat), ("bartowski/Qwen2.5-32B-Instruct-GGUF", "Qwen2.5-32B-Instruct-Q4_K_M.gguf"), about(19_851_336_576), 32_768, APACHE),
    row(("qwen2.5-coder:1.5b", Code), ("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"), about(1_117_320_768), 32_768, APACHE),
    row(("qwen2.5-coder:3b", Code), ("Qwen/Qwen2.5-Coder-3B-Instruct-GGUF", "qwen2.5-coder-3b-instruct-q4_k_m.gguf"), about(2_104_932_800), 32_768, QWEN),
    row(("qwen2.5-coder:7b", Code), ("Qwen/Qwen2.5-Coder-7B-Instruct-GGUF", "qwen2.5-coder-7b-instruct-q4_k_m.gguf"), about(4_683_073_000), 32_768, APACHE),
    row(("llama3.2:1b", Chat), ("bartowski/Llama-3.2-1B-Instruct-GGUF", "Llama-3.2-1B-Instruct-Q4_K_M.gguf"), exact(807_694_464), 131_072, LLAMA),
    row(("llama3.2:3b", Chat), ("bartowski/Llama-3.2-3B-Instruct-GGUF", "Llama-3.2-3B-Instruct-Q4_K_M.gguf"), exact(2_019_377_696), 131_072, LLAMA),
    row(("llama3.1:8b", Chat), ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"), exact(4_920_739_232), 131_072, LLAMA),
    row(("llama3.1:70b", Chat), ("bartowski/Meta-Llama-3.1-70B-Instruct-GGUF", "Meta-Llama-3.1-70B-Instruct-Q4_K_M.gguf"), about(42_520_398_400), 131_072, LLAMA),
    row(("llama3.3:70b", Chat), ("bartowski/Llama-3.3-70B-Instruct-GGUF", "Llama-3.3-70B-Instruct-Q4_K_M.gguf"), about(42_520_398_816), 131_072, LLAMA),
    row(("mistral:7b", Chat), ("bartowski/Mistral-7B-Instruct-v0.3-GGUF", "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf"), exact(4_372_812_000), 32_768, APACHE),
    row(("mistral-nemo:12b", Chat), ("bartowski/Mistral-Nemo-Instruct-2407-GGUF", "Mistral-Nemo-Instruct-2407-Q4_K_M.gguf"), exact(7_477_208_192), 131_072, APACHE),
    row(("mixtral:8x7b", Chat), ("TheBloke/Mixtral-8x7B-Instruct-v0.1-GGUF", "mixtral-8x7b-instruct-v0.1.Q4_K_M.gguf"), about(26_440_000_000), 32_768, APACHE),
    row(("gemma2:2b", Chat), ("bartowski/gemma-2-2b-it-GGUF", "gemma-2-2b-it-Q4_K_M.gguf"), about(1_708_582_752), 8_192, GEMMA),
    row(("gemma2:9b", Chat), ("bartowski/gemma-2-9b-it-GGUF", "gemma-2-9b-it-Q4_K_M.gguf"), exact(5_761_057_728), 8_192, GEMMA),
    row(("gemma2:27b", Chat), ("bartowski/gemma-2-27b-it-GGUF", "gemma-2-27b-it-Q4_K_M.gguf"), about(16_650_000_000), 8_192, GEMMA),
    row(("gemma3:1b", Chat), ("ggml-org/gemma-3-1b-it-GGUF", "gemma-3-1b-it-Q4_K_M.gguf"), about(806_058_240), 32_768, GEMMA),
    row(("gemma3:4b", Chat), ("ggml-org/gemma-3-4b-it-GGUF", "gemma-3-4b-it-Q4_K_M.gguf"), exact(2_489_757_856), 131_072, GEMMA),
    row(("gemma3:12b", Chat), ("ggml-org/gemma-3-12b-it-GGUF", "gemma-3-12b-it-Q4_K_M.gguf"), about(7_300_575_000), 131_072, GEMMA),
    row(("phi3:3.8b", Chat), ("microsoft/Phi-3-mini-4k-instruct-gguf", "Phi-3-mini-4k-instruct-q4.gguf"), about(2_393_000_000), 4_096, MIT),
    row(("phi3.5:3.8b", Chat), ("bartowski/Phi-3.5-mini-instruct-GGUF", "Phi-3.5-mini-instruct-Q4_K_M.gguf"), about(2_393_232_672), 131_072, MIT),
    row(("phi4-mini:3.8b", Chat), ("unsloth/Phi-4-mini-instruct-GGUF", "Phi-4-mini-instruct-Q4_K_M.gguf"), exact(2_491_874_272), 131_072, MIT),
    row(("phi4:14b", Chat), ("bartowski/phi-4-GGUF", "phi-4-Q4_K_M.gguf"), about(9_053_115_000), 16_384, MIT),
    row(("smollm2:135m", Chat), ("HuggingFaceTB/SmolLM2-135M-Instruct-GGUF", "smollm2-135m-instruct-q8_0.gguf"), about(145_000_000), 8_192, APACHE),
    row(("smollm2:360m", Chat), ("HuggingFaceTB/SmolLM2-360M-Instruct-GGUF", "smollm2-360m-instruct-q8_0.gguf"), exact(386_404_992), 8_192, APACHE),
    row(("smollm2:1.7b", Chat), ("HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF", "smollm2-1.7b-instruct-q4_k_m.gguf"), exact(1_055_609_536), 8_192, APACHE),
    row(("tinyllama:1.1b", Chat), ("TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"), exact(668_788_096), 2_048, APACHE),
    row(("deepseek-r1:1.5b", Reasoning), ("bartowski/DeepSeek-R1-Distill-Qwen-1.5B-GGUF", "DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf"), about(1_117_320_000), 131_072, MIT),
    row(("deepseek-r1:7b", Reasoning), ("bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF", "DeepSeek-R1-Distill-Qwen-7B-Q4_K_M.gguf"), about(4_683_073_000), 131_072, MIT),
    row(("deepseek-r1:8b", Reasoning), ("bartowski/DeepSeek-R1-Distill-Llama-8B-GGUF", "DeepSeek-R1-Distill-Llama-8B-Q4_K_M.gguf"), about(4_920_736_000), 131_072, LLAMA),
    row(("deepseek-r1:14b", Reasoning), ("bartowski/DeepSeek-R1-Distill-Qwen-14B-GGUF", "DeepSeek-R1-Distill-Qwen-14B-Q4_K_M.gguf"), about(8_988_110_240), 131_072, MIT),
    row(("nomic-embed-text:v1.5", Embedding), ("nomic-ai/nomic-embed-text-v1.5-GGUF", "nomic-embed-text-v1.5.Q8_0.gguf"), exact(146_146_432), 2_048, APACHE),
    row(("bge-m3:567m", Embedding), ("ggml-org/bge-m3-Q8_0-GGUF", "bge-m3-q8_0.gguf"), exact(634_553_760), 8_192, MIT),
    row(("all-minilm:22m", Embedding), ("second-state/All-MiniLM-L6-v2-Embedding-GGUF", "all-MiniLM-L6-v2-Q8_0.gguf"), about(25_000_000), 512, APACHE),
    row(("mxbai-embed-large:335m", Embedding), ("ChristianAzinn/mxbai-embed-large-v1-gguf", "mxbai-embed-large-v1.Q8_0.gguf"), about(358_235_712), 512, APACHE),
    row(("bge-reranker-v2-m3:568m", Reranker), ("gpustack/bge-reranker-v2-m3-GGUF", "bge-reranker-v2-m3-Q8_0.gguf"), about(636_000_000), 8_192, APACHE),
];
