//! Embeds the list of dependencies that `make release` writes (`cargo xtask dependencies`), where it names one.

use std::env;

/// The file with the list, as an input for the linker. That of `instar` has a variable of its own.
const VARIABLE: &str = "INSTAR_PLUGIN_DEPENDENCIES";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let Some(path) = env::var(VARIABLE).ok().filter(|path| !path.is_empty()) else {
        return;
    };
    println!("cargo::rerun-if-changed={path}");
    println!("cargo::rustc-link-arg-bins={path}");
    // Nothing refers to it, so the linker would leave it out.
    println!("cargo::rustc-link-arg-bins=-Wl,--undefined=AUDITABLE_VERSION_INFO");
}
