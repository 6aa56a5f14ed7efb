//! What holds an upgrade, as far as it follows from values alone.

pub mod windows;

pub use windows::{Closed, MaintenanceWindows, WindowError, WindowState};
