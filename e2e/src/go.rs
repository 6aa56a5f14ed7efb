//! Calls of the `go` program.

use std::process::Stdio;

use tokio::process::Command;

use crate::versions::GoModule;

/// The environment of every call of Go: the same bytes on every machine.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("CGO_ENABLED", "0"),
    ("GOTOOLCHAIN", "local"),
    ("GOFLAGS", "-mod=readonly -buildvcs=false"),
];

/// A call of Go in one of our modules.
#[must_use]
pub fn command(module: GoModule) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module.dir())
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}
