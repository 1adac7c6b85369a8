//! A real model that fits this machine, and how to get it.

use crate::out::bytes;

/// A public model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What people call it.
    pub name: &'static str,
    /// The repository on Hugging Face.
    repository: &'static str,
    /// The file in it.
    pub file: &'static str,
    /// Bytes of the file.
    size: u64,
}

/// Models of the families that run here, the largest first; sizes are those of the files.
const KNOWN: &[Known] = &[
    Known {
        name: "Qwen3-30B-A3B (Q4_K_M)",
        repository: "Qwen/Qwen3-30B-A3B-GGUF",
        file: "Qwen3-30B-A3B-Q4_K_M.gguf",
        size: 18_556_686_912,
    },
    Known {
        name: "Qwen3-8B (Q4_K_M)",
        repository: "Qwen/Qwen3-8B-GGUF",
        file: "Qwen3-8B-Q4_K_M.gguf",
        size: 5_027_783_488,
    },
    Known {
        name: "Qwen3-4B (Q4_K_M)",
        repository: "Qwen/Qwen3-4B-GGUF",
        file: "Qwen3-4B-Q4_K_M.gguf",
        size: 2_497_280_256,
    },
    Known {
        name: "Qwen3-1.7B (Q8_0)",
        repository: "Qwen/Qwen3-1.7B-GGUF",
        file: "Qwen3-1.7B-Q8_0.gguf",
        size: 1_834_426_016,
    },
    Known {
        name: "Qwen3-0.6B (Q8_0)",
        repository: "Qwen/Qwen3-0.6B-GGUF",
        file: "Qwen3-0.6B-Q8_0.gguf",
        size: 639_446_688,
    },
];

/// Bytes of weights that leave room for sequence memory and for the rest of the machine: two thirds
/// of what is available.
pub fn room_for_weights(available: u64) -> u64 {
    available / 3 * 2
}

/// The largest known model that leaves such room.
pub fn largest_that_fits(available: u64) -> Option<Known> {
    KNOWN
        .iter()
        .copied()
        .find(|model| model.size <= room_for_weights(available))
}

impl Known {
    /// One command that downloads it into the current folder and resumes when cut off.
    pub fn command(&self) -> String {
        let Self {
            repository, file, ..
        } = self;
        format!("curl -L -C - -O https://huggingface.co/{repository}/resolve/main/{file}")
    }

    /// What it is, how to get it and how to run it: three lines.
    pub fn lines(&self) -> String {
        format!(
            "{} fits this machine ({}). To get it and talk to it:\n  {}\n  ingle run ./{}",
            self.name,
            bytes(self.size),
            self.command(),
            self.file,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_falls_in_size() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].size > pair[1].size));
    }

    #[test]
    fn what_fits() {
        const GIB: u64 = 1 << 30;
        let name = |gib| largest_that_fits(gib * GIB).map(|m| m.name);
        assert_eq!(name(64), Some("Qwen3-30B-A3B (Q4_K_M)"));
        assert_eq!(name(22), Some("Qwen3-8B (Q4_K_M)"));
        assert_eq!(name(5), Some("Qwen3-4B (Q4_K_M)"));
        assert_eq!(name(1), Some("Qwen3-0.6B (Q8_0)"));
        assert_eq!(name(0), None);
        insta::assert_snapshot!(largest_that_fits(5 * GIB).unwrap().lines());
    }
}
