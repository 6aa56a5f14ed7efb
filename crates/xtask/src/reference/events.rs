//! The reasons of Events, from their enum.

use instar_api::EventReason;

use super::row;

const INTRO: &str = "\
# Events

`instar controller` posts Events on ClusterUpgrades and Clusters, and `instar webhook` posts one on each object that was
admitted although it breaks a rule. `kubectl describe` shows them, and so does
`kubectl get events --field-selector reason=Held`. An Event is posted when something changes, not again while it stays
the same; [`status.health`](health.md) of the ClusterUpgrade has what holds now. An Event that can't be posted is
dropped.

| reason | type | on | when | what to do |
| --- | --- | --- | --- | --- |
";

pub(super) fn page() -> String {
    let mut page = INTRO.to_owned();
    for reason in EventReason::ALL {
        page.push_str(&row([
            format!("`{reason}`"),
            reason.severity().as_str().to_owned(),
            reason.regarding().to_owned(),
            reason.when().to_owned(),
            reason.remedy().to_owned(),
        ]));
    }
    page
}
