//! The checks before an upgrade, from their enum.

use instar_api::PreflightCheck;

use super::{enforcement, row};

const INTRO: &str = "\
# Preflight checks

Before Instar begins an upgrade, it asks these checks ([docs/preflight.md](../preflight.md)). `status.preflight` of the
[ClusterUpgrade](clusterupgrade.md) has what they found. The mode is the one where no [UpgradePolicy](upgradepolicy.md)
sets another.
";

pub(super) fn page() -> String {
    let mut page =
        format!("{INTRO}\n| check | mode | passes while | what to do when it fails |\n| --- | --- | --- | --- |\n");
    for check in PreflightCheck::ALL {
        page.push_str(&row([
            format!("`{check}`"),
            format!("`{}`", enforcement(check.default_mode())),
            check.looks_at().to_owned(),
            check.remedy().to_owned(),
        ]));
    }
    page
}
