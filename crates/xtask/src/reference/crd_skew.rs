//! Which CustomResourceDefinitions a program works with, from the table that it goes by.

use instar_api::{CrdSkew, INSTAR_VERSION_ANNOTATION};

use super::row;

const INTRO: &str = "\
# CustomResourceDefinitions and the program

`instar webhook` and `instar controller` compare the CustomResourceDefinitions of Instar that they find with those that they
were built for, when they start and again every 30 seconds. By the table below a definition is allowed or refused; of several
rows that hold, the first counts. While one of the three is refused:

- `/readyz` fails with the reason, and the log has it;
- the controller writes nothing but its Lease, and posts an Event `CrdSkew` on the CustomResourceDefinition. Cluster API goes on
  with what was written before;
- the admission server goes on answering for 5 minutes if it was ready before, since whoever upgrades Instar applies the
  definitions first. A server that starts isn't ready, so a rollout of it stops, and the servers of before go on answering.

When the definitions are mended, both go on by themselves.

";

pub(super) fn page() -> String {
    let mut page = format!(
        "{INTRO}The version of a definition is its annotation `{INSTAR_VERSION_ANNOTATION}`. `instar crd` prints the \
         definitions of a program, and `instar crd --apply` applies them.\n\n| the definition | | because | what to do |\n| \
         --- | --- | --- | --- |\n"
    );
    for skew in CrdSkew::ALL {
        page.push_str(&row([
            skew.what().to_owned(),
            skew.verdict().as_str().to_owned(),
            skew.why().to_owned(),
            skew.remedy().to_owned(),
        ]));
    }
    page
}
