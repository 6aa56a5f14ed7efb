//! What several sections of a page use.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use maud::{Markup, html};

use crate::{age, text::Tone};

/// The class of a tone. No tone is told by colour alone: the word stands beside it.
pub(super) const fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain | Tone::Heading => "plain",
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
    }
}

/// A word with a mark before it.
pub(super) fn chip(word: &str, tone: Tone) -> Markup {
    html! { span .chip .(class(tone)) { (word) } }
}

/// How long ago; the time itself is in the title.
pub(super) fn ago(time: &Time, now: Timestamp) -> Markup {
    let at = instant(time.0);
    html! { time datetime=(time.0) title=(at) { (age(now.duration_since(time.0))) } }
}

/// A time for people, in UTC, to the second.
pub(super) fn instant(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A message as it was written: lines that begin with `*` are a list, and what stands between backticks is code.
pub(super) fn message(text: &str) -> Markup {
    let mut said = Vec::new();
    let mut items = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("* ") {
            Some(item) => items.push(item),
            None => said.push(line),
        }
    }
    html! {
        @if !said.is_empty() { p .message { (inline(&said.join(" "))) } }
        @if !items.is_empty() { ul .message { @for item in items { li { (inline(item)) } } } }
    }
}

/// What stands between two backticks is code; one alone stays as it is.
pub(super) fn inline(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    // An even number of parts is an odd number of backticks: the last one begins nothing.
    let closed = if parts.len().is_multiple_of(2) {
        parts.len() - 1
    } else {
        parts.len()
    };
    html! {
        @for (at, part) in parts.iter().enumerate() {
            @if at >= closed { "`" (part) }
            @else if at % 2 == 1 { code { (part) } }
            @else { (part) }
        }
    }
}

/// A page without anything to show.
pub(super) fn unread(heading: &str) -> Markup {
    html! {
        header .head { h1 tabindex="-1" { (heading) } }
        section .card { p { "Nothing could be read yet." } }
    }
}

/// A command to copy.
pub(super) fn command(text: &str) -> Markup {
    html! { p .command { code { (text) } } }
}

/// `one machine`, `2 machines`.
pub(super) fn machines(count: u32) -> String {
    match count {
        1 => "1 machine".to_owned(),
        count => format!("{count} machines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_lines() {
        for (text, markup) in [
            ("", ""),
            ("one <b>", "<p class=\"message\">one &lt;b&gt;</p>"),
            (
                "run `a < b` or `c`, not `d",
                "<p class=\"message\">run <code>a &lt; b</code> or <code>c</code>, not `d</p>",
            ),
            (
                "why:\n* this\n* that",
                "<p class=\"message\">why:</p><ul class=\"message\"><li>this</li><li>that</li></ul>",
            ),
        ] {
            assert_eq!(message(text).into_string(), markup, "{text}");
        }
    }
}
