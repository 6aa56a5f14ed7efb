//! What every page begins with.

use maud::{DOCTYPE, Markup, html};

/// What a browser tells of the address that a page has, which has the token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Referrer {
    /// Nothing.
    None,
    /// All of it, to the server that it came from alone. Without it the Origin of a form is `null`.
    SameOrigin,
}

pub(super) fn document(title: &str, head: &Markup, body: &Markup, referrer: Referrer) -> Markup {
    let referrer = match referrer {
        Referrer::None => "no-referrer",
        Referrer::SameOrigin => "same-origin",
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content=(referrer);
                title { (title) }
                (head)
            }
            body { (body) }
        }
    }
}
