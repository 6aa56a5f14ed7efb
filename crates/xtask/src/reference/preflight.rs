//! The checks before an upgrade, from their enum.

use instar_api::{ClusterRead, PreflightCheck};

use super::{enforcement, row};

const WORKLOAD: &str = "
## Of the workload cluster

These checks read the API server of the workload cluster ([docs/workload-checks.md](../workload-checks.md)). They are off
where no UpgradePolicy sets `spec.workload.access: Enabled`; the mode is the one where one does.

";

const INFRASTRUCTURE: &str = "
## Of the infrastructure provider

These checks read what the provider makes machines with ([docs/preflight.md](../preflight.md#vm-templates)). They are off
where no UpgradePolicy names them.

";

const INTRO: &str = "\
# Preflight checks

Before Instar begins an upgrade, it asks these checks ([docs/preflight.md](../preflight.md)). `status.preflight` of the
[ClusterUpgrade](clusterupgrade.md) has what they found. The mode is the one where no [UpgradePolicy](upgradepolicy.md)
sets another.
";

pub(super) fn page() -> String {
    let table = |reads: ClusterRead| {
        let mut table =
            "| check | mode | passes while | what to do when it fails |\n| --- | --- | --- | --- |\n".to_owned();
        for check in PreflightCheck::ALL.iter().filter(|check| check.reads() == reads) {
            table.push_str(&row([
                format!("`{check}`"),
                format!("`{}`", enforcement(check.default_mode())),
                check.looks_at().to_owned(),
                check.remedy().to_owned(),
            ]));
        }
        table
    };
    format!(
        "{INTRO}\n{}{INFRASTRUCTURE}{}{WORKLOAD}{}",
        table(ClusterRead::Management),
        table(ClusterRead::Infrastructure),
        table(ClusterRead::Workload)
    )
}
