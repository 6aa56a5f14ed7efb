//! Which CustomResourceDefinitions a program works with, from the table that it goes by.

use instar_api::{CrdSkew, INSTAR_VERSION_ANNOTATION};

use super::row;

const INTRO: &str = "\
# CustomResourceDefinitions and the program

`instar webhook` and `instar controller` compare the CustomResourceDefinitions of Instar that they find with those that they
were built for, when they start and again every 30 seconds. By the table below a definition is allowed or refused; of several
rows that hold, the first counts. While one of the three is refused:

- `/readyz` fails with the reason, and the log has it;
- the controller writes nothing, and posts an Event `CrdSkew` on the CustomResourceDefinition. After 30 seconds it gives its
  Lease back, and asks for it again only when they fit, so that another replica which they fit may lead. Cluster API goes on
  with what was written before. The [certificates](../installing.md#without-cert-manager) are kept all the same: by who has
  the Lease, or while nobody has it by each controller that waits;
- the admission server goes on answering if it was ready before, since whoever upgrades Instar applies the definitions first:
  without a limit while they are only newer, and for 5 minutes where something else is wrong. A server that starts isn't ready,
  so a rollout of it stops, and the servers of before go on answering. One of these that is restarted isn't ready either.

When the definitions are mended, both go on by themselves.

";

pub(super) fn page() -> String {
    let mut page = format!(
        "{INTRO}The version of a definition is its annotation `{INSTAR_VERSION_ANNOTATION}`. `instar crd` prints the \
         definitions of a program, and `instar crd --apply` applies them.\n\n| the definition | | a server that was ready \
         stays so | because | what to do |\n| --- | --- | --- | --- | --- |\n"
    );
    for skew in CrdSkew::ALL {
        page.push_str(&row([
            skew.what().to_owned(),
            skew.verdict().as_str().to_owned(),
            skew.server_stays().as_str().to_owned(),
            skew.why().to_owned(),
            skew.remedy().to_owned(),
        ]));
    }
    page
}
