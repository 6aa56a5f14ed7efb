//! What the two benchmarks share. They are two programs, since the one that measures the admission server is
//! itself that server, and is to have no more in it.

pub mod process;
