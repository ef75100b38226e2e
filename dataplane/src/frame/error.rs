//! Why there is no memory for frames, and what to do about it.

use core::fmt;

/// Why an arena could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArenaError {
    /// The chunk size is not a power of two from 2048 to 65536 bytes, or the count is 0 or above 2^24.
    Shape {
        /// Bytes per chunk that were asked for.
        chunk_size: usize,
        /// Chunks that were asked for.
        chunks: usize,
    },
    /// The kernel refused the mapping.
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: usize,
        /// `errno` of `mmap`.
        errno: i32,
    },
}

impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { chunk_size, chunks } => write!(
                f,
                "frame memory of {chunks} × {chunk_size} bytes is not possible: frame_size must be a power of two from 2048 to \
                 65536, frames_per_core from 1 to 16777216"
            ),
            Self::OutOfMemory { bytes, errno } => write!(
                f,
                "no memory for {bytes} bytes of frames ({}): lower frames_per_core",
                std::io::Error::from_raw_os_error(*errno)
            ),
        }
    }
}

impl core::error::Error for ArenaError {}
