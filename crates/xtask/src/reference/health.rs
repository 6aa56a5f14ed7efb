//! The reasons in `status.health[]`, from their enum.

use instar_api::{FailureReason, HealthReason};

use super::row;

const INTRO: &str = "\
# Health reasons

`status.health[]` of a [ClusterUpgrade](clusterupgrade.md) says what the upgrade waits for and what isn't well, the
highest level first. What has one cause is one row: seven Machines that one PodDisruptionBudget holds are one row with
the `count` 7. Each row has a `reason`, the `kind` and the `name` of the object that it is about, a `message` with the
details, what to do `next`, and `since` when: the time of the object or of Instar's own write where that has one, else
when it was first seen. The reasons are part of the API: a program can compare them. A new version of Instar may add
one.

| level | |
| --- | --- |
| `Info` | all goes as planned, also where that waits for a time or for a user |
| `Warning` | something isn't as it should be; it may mend by itself |
| `Error` | it doesn't go on before a user mends something |
";

const FAILURES: &str = "
## The condition `Healthy`

While the controller itself can't read or write what it has to, the condition `Healthy` is `False`, with one of these
reasons. There is a Warning [Event](events.md) with the same reason.

";

pub(super) fn page() -> String {
    let mut page = format!(
        "{INTRO}\n## The reasons\n\n| reason | level | impact | what it means | what to do |\n| --- | --- | --- | --- | --- |\n"
    );
    for reason in HealthReason::ALL {
        page.push_str(&row([
            format!("`{reason}`"),
            reason.level().as_str().to_owned(),
            reason.impact().as_str().to_owned(),
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
