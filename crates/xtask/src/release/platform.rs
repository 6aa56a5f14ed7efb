//! What a program runs on.

use anyhow::bail;

use super::Release;

/// The platforms that a release can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    Amd64,
    Arm64,
}

impl Platform {
    /// The name that files and images have for it.
    pub(crate) const fn architecture(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The name that cargo has for it.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl std::str::FromStr for Platform {
    type Err = anyhow::Error;

    fn from_str(target: &str) -> Result<Self, Self::Err> {
        let known = [Self::Amd64, Self::Arm64]
            .into_iter()
            .find(|platform| platform.target() == target);
        let Some(platform) = known else {
            bail!(
                "a release is built for {} or {}, not for {target}",
                Self::Amd64.target(),
                Self::Arm64.target()
            );
        };
        Ok(platform)
    }
}

impl Release {
    /// As the header of the program says (`e_machine` of ELF).
    pub(crate) fn platform(&self) -> Platform {
        const AARCH64: [u8; 2] = 183_u16.to_le_bytes();
        if self.program.starts_with(b"\x7fELF") && self.program.get(18..20) == Some(&AARCH64) {
            Platform::Arm64
        } else {
            Platform::Amd64
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::release::tests::release;

    #[test]
    fn a_release_is_for_what_its_program_runs_on() {
        let mut release = release();
        release.program = [b"\x7fELF".as_slice(), &[0; 14], &[183, 0]].concat();
        let files = release.files().unwrap();
        for path in ["bin/instar-linux-arm64", "sbom/instar-linux-arm64.cdx.json"] {
            assert!(files.contains_key(path), "{path}");
        }
        let index: Value = serde_json::from_slice(files["image/index.json"].bytes()).unwrap();
        assert_eq!(index["manifests"][0]["platform"]["architecture"], "arm64");
        assert!("riscv64gc-unknown-linux-gnu".parse::<Platform>().is_err());
    }
}
