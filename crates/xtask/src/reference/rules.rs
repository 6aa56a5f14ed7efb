//! The rules by which admission refuses.

use instar_admission::Rule;

use super::row;

const INTRO: &str = "\
# Rules

Instar refuses an edit by one of these rules. Each message ends with the rule's id, such as
`[rule no-downgrade]`, and so does the label `rule` of the metric `instar_admission_denials_total`.

| rule | what it guards | code | reason |
| --- | --- | --- | --- |
";

pub(super) fn page() -> String {
    let mut page = INTRO.to_owned();
    for rule in Rule::ALL {
        let cells = [
            format!("`{}`", rule.id()),
            rule.guards().to_owned(),
            rule.code().to_string(),
            rule.reason().to_owned(),
        ];
        page.push_str(&row(cells));
    }
    page
}
