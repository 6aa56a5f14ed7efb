//! Telling people why something failed.

/// Why something failed: a chain of what was being done, outermost first.
pub type Failure = anyhow::Error;

/// The chain in one line, each link once.
#[must_use]
pub fn describe(failure: &Failure) -> String {
    let mut links: Vec<String> = Vec::new();
    for cause in failure.chain() {
        // An answer of the API server says itself three times over, once as a Rust structure.
        let api = cause.downcast_ref::<kube::Error>();
        let text = api.map_or_else(|| cause.to_string(), describe_api);
        // Many errors repeat their source.
        if !links.last().is_some_and(|last| last.ends_with(&text)) {
            links.push(text);
        }
        if api.is_some_and(|error| matches!(error, kube::Error::Api(_))) {
            break;
        }
    }
    links.join(": ")
}

/// An error of kube; an answer of the API server by its message, reason and code.
#[must_use]
pub fn describe_api(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({} {})", status.message, status.code, status.reason),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_is_told_once() {
        let status = Status::failure("spec is wrong", "Invalid").with_code(422);
        let failure = Err::<(), _>(kube::Error::Api(status.boxed()))
            .context("applying Cluster one")
            .unwrap_err();
        assert_eq!(describe(&failure), "applying Cluster one: spec is wrong (422 Invalid)");
    }
}
