//! What the API server and admission warn of while they let a write pass: kube's client leaves these headers out.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, Request};
use kube::{Client, client::Body};
use tower::service_fn;

const WARNING: HeaderName = HeaderName::from_static("warning");

/// The warnings that a client was answered with.
pub(super) struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// A client that asks as this one does, and what it is warned of.
    pub(super) fn heard_by(client: &Client) -> (Client, Self) {
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let (asks, keeps) = (client.clone(), Arc::clone(&heard));
        let service = service_fn(move |request: Request<Body>| {
            let (asks, keeps) = (asks.clone(), Arc::clone(&keeps));
            async move {
                let response = asks.send(request).await?;
                let texts = all(response.headers());
                keeps.lock().unwrap_or_else(PoisonError::into_inner).extend(texts);
                Ok::<_, kube::Error>(response)
            }
        });
        (Client::new(service, client.default_namespace()), Self(heard))
    }

    /// Their texts, in the order in which they came.
    pub(super) fn take(&self) -> Vec<String> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn all(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(WARNING).into_iter();
    values
        .flat_map(|value| texts(&String::from_utf8_lossy(value.as_bytes())))
        .collect()
}

/// The texts of `299 - "text"`, of which a proxy may put several into one header, with commas between: RFC 7234, 5.5. A date
/// may follow a text, in quotes too.
fn texts(header: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut letters = header.chars();
    let mut is_first = true;
    while let Some(letter) = letters.next() {
        match letter {
            ',' => is_first = true,
            '"' => {
                let text = quoted(&mut letters);
                if mem::take(&mut is_first) {
                    texts.push(text);
                }
            }
            _ => {}
        }
    }
    texts
}

/// What stands before the quote that ends it.
fn quoted(letters: &mut impl Iterator<Item = char>) -> String {
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => text.extend(letters.next()),
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_unquoted_once() {
        for (header, expected) in [
            (r#"299 - "rule \"x\" says \\ no""#, vec![r#"rule "x" says \ no"#]),
            (r#"299 - "one, two" "Tue, 01 Dec 2026 05:00:00 GMT""#, vec!["one, two"]),
            (r#"299 - "one", 299 - "two""#, vec!["one", "two"]),
            (r#"299 - "cut off"#, vec!["cut off"]),
            ("odd", vec![]),
        ] {
            assert_eq!(texts(header), expected, "{header}");
        }
    }
}
