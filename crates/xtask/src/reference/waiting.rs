//! The reasons in `status.waiting[]`, from their enum.

use instar_api::{FailureReason, WaitingReason};

use super::row;

const INTRO: &str = "\
# Waiting reasons

`status.waiting[]` of a [ClusterUpgrade](clusterupgrade.md) says what the upgrade waits for. Each entry has a `reason`,
the `kind` and the `name` of the object that it is about, and a `message` with the details. The reasons are part of the
API: a program can compare them. A new version of Instar may add one.
";

const FAILURES: &str = "
## The condition `Healthy`

While the controller itself can't read or write what it has to, the condition `Healthy` is `False`, with one of these
reasons. There is a Warning [Event](events.md) with the same reason.

";

pub(super) fn page() -> String {
    let mut page = format!("{INTRO}\n| reason | what it means | what to do |\n| --- | --- | --- |\n");
    for reason in WaitingReason::ALL {
        page.push_str(&row([
            format!("`{reason}`"),
            reason.meaning().to_owned(),
            reason.remedy().to_owned(),
        ]));
    }
    page.push_str(FAILURES);
    page.extend(
        FailureReason::ALL
            .iter()
            .map(|reason| format!("- `{}`\n", reason.as_str())),
    );
    page
}
